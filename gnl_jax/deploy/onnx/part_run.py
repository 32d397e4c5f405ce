"""A part through a model that takes its windows, some at a time; the model itself carries the part's numbers along."""

from collections.abc import Callable

import numpy as np

from gnl_jax.detection.windows import Grid

# The input "before" of a part's first windows: highest score, mean drift, number of windows.
FIRST = np.array([np.finfo(np.float32).min, 0, 0], np.float32)


def run_part(
    run: Callable[..., dict[str, np.ndarray]],
    image: np.ndarray,
    grid: Grid,
    *,
    cut: Callable[[np.ndarray, Grid, range], np.ndarray],
    at_once: int,
    see: Callable[[int, np.ndarray], None],
) -> dict[str, np.ndarray]:
    """What a model says of a whole part, an image uint8 [h w 3] of the grid's frame: outputs by name, [1] each.

    Args:
        run: (windows uint8 [k h w 3], before=the output "after" of the windows before) -> outputs by name.
        image: the part.
        grid: its windows.
        cut: (image, grid, numbers of windows) -> these windows as the model takes them.
        at_once: windows of one call, at most.
        see: is given each window's number and map [s s].
    """
    outputs = {"after": FIRST}
    for first in range(0, grid.count, at_once):
        indices = range(first, min(first + at_once, grid.count))
        outputs = run(cut(image, grid, indices), before=outputs["after"])
        for index, score_map in zip(indices, outputs["map"]):
            see(index, score_map)
    return {name: value for name, value in outputs.items() if name not in ("after", "map")}


def native_windows(image: np.ndarray, grid: Grid, indices: range) -> np.ndarray:
    """Windows of an image uint8 [h w 3] in its own pixels: uint8 [k height width 3]."""
    windows, (height, width) = [], grid.window
    for index in indices:
        y, x = (first + corner for first, corner in zip(grid.area, grid.corner(index)))
        windows.append(image[y : y + height, x : x + width])
    return np.stack(windows)
