"""What a model with windows is compared on: whole parts, and of each part the map of its window with the highest score.

The joined map is not compared. It is made of windows' maps in the same way here and there, and where two windows show
one defect alike, rounding decides whose map is kept around it.
"""

from typing import NamedTuple

import numpy as np

from gnl_jax.deploy.onnx.check import Shown
from gnl_jax.deploy.onnx.part_run import native_windows, run_part
from gnl_jax.deploy.onnx.run import Run
from gnl_jax.deploy.trials import of_two_colours
from gnl_jax.detection.detector import Detector, predict_squares
from gnl_jax.detection.windowed import predict_windows
from gnl_jax.detection.windows import Grid, cut_windows
from gnl_jax.methods.base import Prediction


class Highest(NamedTuple):
    """Of one part: its window with the highest score, that score, its map [s s], and whether it is `of_two_colours`."""

    window: int
    score: float
    map: np.ndarray
    flat: bool


def expected_of_parts(detector: Detector, parts: np.ndarray, grid: Grid) -> tuple[Prediction[np.ndarray], Shown]:
    """What a detector with windows says of parts uint8 [n h w 3].

    Returns:
        score [n], the map [n s s] of each part's window with the highest score, drift [n] or None; and what that
        window is.
    """
    highest, seen = dict[int, Highest](), dict[int, int]()

    def score(windows: np.ndarray, part: int) -> Prediction[np.ndarray]:
        found, first = predict_squares(detector, windows), seen.get(part, 0)
        best = int(found.score.argmax())
        if part not in highest or found.score[best] > highest[part].score:
            if found.map is None:
                raise ValueError("detector: got one without maps, expected a map of each window")
            flat = bool(of_two_colours(windows[best : best + 1])[0])
            highest[part] = Highest(first + best, float(found.score[best]), found.map[best], flat)
        seen[part] = first + len(windows)
        return found._replace(map=None)

    prediction = predict_windows(score, parts, grid, maps=False)
    ranked = [highest[part] for part in range(len(parts))]
    windows, _, maps, flat = map(np.array, zip(*ranked))
    return prediction._replace(map=maps), Shown(windows, flat)


def outputs_of_parts(
    run: Run, parts: np.ndarray, shown: np.ndarray, grid: Grid, *, resizes: bool, at_once: int
) -> dict[str, np.ndarray]:
    """What a model says of parts uint8 [n h w 3], `at_once` windows a call: outputs by name [n ...].

    The map is that of the window `shown` int [n] of each part.
    """
    results, cut = [], native_windows if resizes else cut_windows
    for part, index in zip(parts, shown, strict=True):
        kept = list[np.ndarray]()

        def see(window: int, score_map: np.ndarray, *, wanted=index, kept=kept) -> None:
            if window == wanted:
                kept.append(score_map)

        outputs = run_part(run, part, grid, cut=cut, at_once=at_once, see=see)
        results.append(outputs | {"map": np.stack(kept)})
    return {name: np.concatenate([one[name] for one in results]) for name in results[0]}
