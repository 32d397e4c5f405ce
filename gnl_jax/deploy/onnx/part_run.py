"""A part through a model that takes its windows, some at a time; the model itself carries the part's numbers along."""

from collections.abc import Callable, Sequence

import numpy as np

from gnl_jax.deploy.runtime import resize
from gnl_jax.detection.windows import Grid

# The input "before" of a part's first windows: highest score, sum of drifts, number of windows.
FIRST = np.array([np.finfo(np.float32).min, 0, 0], np.float32)


def run_part(
    run: Callable[..., dict[str, np.ndarray]],
    image: np.ndarray,
    grid: Grid,
    *,
    resizes: bool,
    at_once: int,
    see: Callable[[int, np.ndarray], None],
) -> dict[str, np.ndarray]:
    """What a model says of a whole part, an image uint8 [h w 3] of the grid's frame: outputs by name, [1] each.

    Args:
        run: (windows uint8 [k h w 3], before=float32 [3]) -> outputs by name.
        image: the part.
        grid: its windows.
        resizes: the model takes windows as they are cut; otherwise squares.
        at_once: windows of one call, at most.
        see: is given each window's number and map [s s].
    """
    outputs = {"after": FIRST}
    for first in range(0, grid.count, at_once):
        indices = range(first, min(first + at_once, grid.count))
        outputs = run(_cut(image, grid, indices, resizes=resizes), before=outputs["after"])
        for index, score_map in zip(indices, outputs["map"]):
            see(index, score_map)
    return {name: value for name, value in outputs.items() if name not in ("after", "map")}


def _cut(image: np.ndarray, grid: Grid, indices: Sequence[int], *, resizes: bool) -> np.ndarray:
    windows, (height, width) = [], grid.window
    for index in indices:
        y, x = (first + corner for first, corner in zip(grid.area, grid.corner(index)))
        window = image[y : y + height, x : x + width]
        windows.append(window if resizes else resize(window, grid.side, filter=grid.filter))
    return np.stack(windows)
