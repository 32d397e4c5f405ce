"""Pictures of a condition for the shift report: one good part, false alarms and misses, at their native aspect."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from gnl_jax.data.folder import corruption
from gnl_jax.detection.detector import Detector, predict
from gnl_jax.detection.threshold import OK
from gnl_jax.report.overlay import geometry_of, in_source, overlay, picture, read_native, shown_threshold, small
from gnl_jax.report.shift_rows import Shown

SIDE = 256  # pixels of the longer side
EACH = 3  # false alarms, and misses, of a condition
MOST_BYTES = 8_000_000  # of all pictures: a page stays below 10 MB


def examples(detector: Detector, shown: Shown, *, seed: int) -> dict[str, Any]:
    """The highest-scored good parts that are flagged, the lowest-scored defects that are not, and one good part.

    Images are read again at their own size and changed as the detector saw them, so that small defects can be seen.
    """
    decisions, scores = detector.decide(shown.prediction), shown.prediction.score
    flagged = np.array([said.decision != OK for said in decisions], bool)
    order = np.argsort(scores, kind="stable")
    chosen = {
        "false_alarms": [i for i in order[::-1] if shown.good[i] and flagged[i]][:EACH],
        "missed": [i for i in order if not shown.good[i] and not flagged[i]][:EACH],
    }
    first = int(np.flatnonzero(shown.good)[0])
    rows = [i for some in chosen.values() for i in some]
    found = predict(detector, shown.images[np.array(rows, np.int64)]).map if rows else None
    maps = {} if found is None else dict(zip(rows, found))  # none of a method without maps
    return {
        "thumbnail": picture(_native(detector, shown, first, seed=seed), SIDE // 2),
        **{
            kind: [
                {
                    "image": _overlay(detector, shown, i, maps.get(i), seed=seed),
                    "name": shown.condition.files.names[i],
                    "score": float(scores[i]),
                    "decision": decisions[i].decision,
                }
                for i in rows
            ]
            for kind, rows in chosen.items()
        },
    }


def _native(detector: Detector, shown: Shown, index: int, *, seed: int) -> np.ndarray:
    condition = shown.condition
    image = read_native(detector, condition.files.paths[index])
    if condition.family is None or condition.severity is None:
        return image
    return corruption(condition.family, severity=condition.severity, seed=seed).apply(
        image, condition.files.names[index]
    )


def _overlay(detector: Detector, shown: Shown, index: int, score_map: np.ndarray | None, *, seed: int) -> str:
    image = small(_native(detector, shown, index, seed=seed), SIDE)
    if score_map is None:
        return picture(image, SIDE)
    placed = in_source(score_map, image.shape[:2], geometry_of(detector))
    return picture(overlay(image, placed, shown_threshold(detector.require_record(), score_map)), SIDE)


def within_size(rows: Sequence[Mapping[str, Any]], *, most: int = MOST_BYTES) -> list[dict[str, Any]]:
    """The conditions with as many examples of each as keep all pictures below `most` bytes: 3, 2, 1 or none."""
    for each in range(EACH, -1, -1):
        kept = [{**row, **{kind: row[kind][:each] for kind in ("false_alarms", "missed")}} for row in rows]
        pictures = [p["image"] for row in kept for kind in ("false_alarms", "missed") for p in row[kind]]
        if sum(map(len, [*pictures, *(row["thumbnail"] for row in kept)])) <= most:
            break
    return kept
