"""Defects caught at each false-alarm rate, and whether redrawn calibrations keep the guaranteed rate."""

from collections.abc import Mapping, Sequence
from fractions import Fraction
from typing import Any, NamedTuple

import numpy as np

from gnl_jax.data.pixels import pixel_hash
from gnl_jax.data.protocol import LabelledImages
from gnl_jax.detection.artifact import use_matching
from gnl_jax.detection.detector import Detector, predict
from gnl_jax.detection.parts import check_unseen, largest_by_part
from gnl_jax.detection.threshold import RateError, make_rule, p_counts, rate_bound
from gnl_jax.evaluation.evaluate import pixel_metrics
from gnl_jax.evaluation.metrics import auroc
from gnl_jax.progress import progress_bar

RATES = (Fraction(1, 100), Fraction(5, 100), Fraction(10, 100))
SIMULATIONS = 500  # of all draws together, for the spread of their mean


class Redraws(NamedTuple):
    """Calibrations redrawn from the same good parts.

    Attributes:
        stopped: for each draw the fraction of the other parts that it flags, float64 [draws].
        promised: k / (n + 1), the target that the mean tends to.
        mean_sd: standard deviation of the mean over this number of draws, simulated with scores without ties.
    """

    stopped: np.ndarray
    promised: float
    mean_sd: float

    def summary(self) -> dict[str, Any]:
        """As JSON, with the distance of the mean in simulated standard deviations."""
        mean = float(self.stopped.mean())
        return {
            "draws": self.stopped.tolist(),
            "mean": mean,
            "promised": self.promised,
            "mean_sd": self.mean_sd,
            "deviations": (mean - self.promised) / self.mean_sd,
        }


def redraw(scores: np.ndarray, n_calibration: int, rate: Fraction, *, draws: int = 20, seed: int = 0) -> Redraws:
    """Draws `n_calibration` of the good parts' scores [n] again and again to calibrate, and tests on the others.

    Raises RateError where `n_calibration` parts do not support the rate, ValueError where none are left to test.
    """
    if not 0 < n_calibration < len(scores):
        raise ValueError(f"n_calibration: got {n_calibration} of {len(scores)} parts, expected some and not all")
    rule = make_rule(rate, n_calibration)

    def stopped(values: np.ndarray, rng: np.random.Generator) -> float:
        values = rng.permutation(values)
        return float(rule.stops(p_counts(values[:n_calibration], values[n_calibration:])).mean())

    rng, simulation = (np.random.default_rng([seed, stream]) for stream in (4, 5))
    ranks = np.arange(len(scores), dtype=np.float32)
    means = [np.mean([stopped(ranks, simulation) for _ in range(draws)]) for _ in range(SIMULATIONS)]
    found = np.array([stopped(scores, rng) for _ in range(draws)])
    return Redraws(found, rule.k / (rule.n + 1), float(np.std(means)))


def detection(
    good: np.ndarray, defective: Mapping[str, np.ndarray], rates: Sequence[Fraction] = RATES
) -> list[dict[str, Any]]:
    """Parts of each kind of defect that are caught, at each false-alarm rate.

    Args:
        good: scores of good parts [n]: they set the thresholds, as a calibration of n parts would.
        defective: kind of defect to scores [m].
        rates: of false alarms; those that n does not support are left out.
    """
    rows = []
    for rate in rates:
        try:
            rule = make_rule(rate, len(good))
        except RateError:
            continue
        stopped = {kind: int(rule.stops(p_counts(good, scores)).sum()) for kind, scores in defective.items()}
        bound = rate_bound(rule.k, rule.n, 0.95)
        rows.append({"rate": float(rate), "at_most": bound, "n_good": rule.n, "stopped": stopped})
    return rows


def operating_points(
    detector: Detector, test: LabelledImages, *, defects: Sequence[str], parts: Sequence[str], draws: int = 20
) -> dict[str, dict[str, Any]]:
    """For each matching of a calibrated detector what it does with labelled parts that it has not seen.

    Args:
        detector: a calibrated one.
        test: images as its own were read, masks if there are any.
        defects: kind of defect of each image, "" for a good one.
        parts: which part each image shows; a part's score is the largest of its images'.
        draws: for `redraw`, from the good parts that calibrate and those tested together, at the rate of REVIEW.

    Raises:
        ValueError: images that the detector was fitted or calibrated with; no good or no defective ones.
    """
    detector.require_record().require_rules()
    names = test.names or tuple(f"image {i}" for i in range(len(test.images)))
    check_unseen(tuple(map(pixel_hash, test.images)), names, detector.require_record().manifest["data"])
    of_image, kinds = np.array(defects), sorted(set(defects) - {""})
    results = {}
    with progress_bar("scoring", len(test.images) * len(detector.require_record().matchings)) as advance:
        for matching in detector.require_record().matchings:
            mine = use_matching(detector, matching)
            scored = predict(mine, test.images, maps=test.masks is not None, advance=advance)
            of = {
                kind: largest_by_part(scored.score[of_image == kind], [p for p, d in zip(parts, defects) if d == kind])
                for kind in ("", *kinds)
            }
            known, good = mine.require_record().calibration.score, of.pop("")
            review = mine.require_record().require_rules().review
            held_out = np.concatenate([known, good])
            results[matching] = {
                "auroc": auroc(scored.score, test.anomalous),
                "pixel": pixel_metrics(*test.pixels(scored.map), name=f"matching {matching}"),
                "parts": {"good": len(good), **{kind: len(scores) for kind, scores in of.items()}},
                "detection": detection(held_out, of),
                "redraws": redraw(held_out, len(known), review.rate, draws=draws).summary(),
            }
    return results
