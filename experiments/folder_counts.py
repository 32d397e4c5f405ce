"""What a detector decides on images of parts, counted."""

import numpy as np

from gnl_jax.detection.detector import Detector, predict
from gnl_jax.detection.threshold import OK
from gnl_jax.evaluation.bootstrap import auroc_interval
from gnl_jax.evaluation.metrics import auroc


def share(flagged: np.ndarray, parts: np.ndarray) -> float:
    """Percent of the parts of which an image is flagged."""
    return 100 * float(np.mean([flagged[parts == part].any() for part in np.unique(parts)]))


def measured(detector: Detector, name: str, images: np.ndarray, bad: np.ndarray, parts: np.ndarray) -> dict:
    """AUROC over images and its 95 % interval; good parts flagged and defective parts caught; all in percent."""
    prediction = predict(detector, images, maps=False)
    flagged = np.array([said.decision != OK and said.reason == "score" for said in detector.decide(prediction)])
    alarms, caught = (share(flagged[rows], parts[rows]) for rows in (~bad, bad))
    good_parts, bad_parts = (len(np.unique(parts[rows])) for rows in (~bad, bad))
    interval = [100 * bound for bound in auroc_interval(prediction.score, bad)]
    return {
        "matching": detector.record.matching, "condition": name, "auroc": 100 * auroc(prediction.score, bad),
        "interval": interval, "flagged": alarms, "caught": caught, "good_parts": good_parts, "bad_parts": bad_parts,
    }  # fmt: skip
