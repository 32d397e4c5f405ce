"""Score histograms and galleries of score maps; the same input gives the same bytes."""

import contextlib
import io
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from gnl_jax.evaluation.metrics import auroc
from gnl_jax.files import write_atomic

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.cm import ScalarMappable
    from matplotlib.figure import Figure
    from matplotlib.typing import RcKeyType

# From the palette of Okabe and Ito, told apart with every common form of colour blindness.
NORMAL, ANOMALOUS = "#0072B2", "#D55E00"
# What each format writes about itself: no dates, no versions.
METADATA = {
    ".png": {"Software": None},
    ".pdf": {"CreationDate": None, "Creator": None, "Producer": None},
    ".svg": {"Date": None, "Creator": None},
}
STYLE: "dict[RcKeyType, Any]" = {
    "font.family": "DejaVu Sans",  # ships with matplotlib: a picture is the same everywhere
    "font.size": 8,
    "axes.titlesize": 8,
    "axes.labelsize": 8,
    "axes.linewidth": 0.6,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "xtick.labelsize": 7,
    "xtick.major.width": 0.6,
    "xtick.major.size": 2.5,
    "savefig.dpi": 200,
    "text.parse_math": False,  # names are written as they are, dollar signs included
    "svg.hashsalt": "gnl_jax",
    "pdf.fonttype": 42,
}


class GalleryItem(NamedTuple):
    """One image with what the detector said about it.

    Attributes:
        image: uint8 [s s 3].
        map: score map, floats [s s].
        score: of the image.
        anomalous: the truth.
        test: name of its test set.
        mask: bool [s s], the true defect, outlined where given.
    """

    image: np.ndarray
    map: np.ndarray
    score: float
    anomalous: bool
    test: str
    mask: np.ndarray | None = None


BINS = 40  # of a row of histograms


def plot_scores(path: str | os.PathLike, panels: Mapping[str, Mapping[str, tuple[np.ndarray, np.ndarray]]]) -> None:
    """Draws how the scores of normal and anomalous images overlap; a row per method, a column per test set.

    The bins of a row are shared, so that a rise of all scores under a shift shows. Each histogram has area 1.

    Args:
        path: of the picture, replaced atomically; its suffix is a key of `METADATA`.
        panels: method to test set ("id" first) to (scores floats [n], anomalous bool [n]).

    Raises:
        ValueError: no panels, another suffix, or scores that `auroc` refuses.
    """
    tests = list(dict.fromkeys(test for cases in panels.values() for test in cases))
    if not tests:
        raise ValueError("panels: got none, expected at least one method with one test set")
    titles = {
        (method, test): f"{name_in_picture(test)}, AUROC {100 * auroc(*case):.1f}"
        for method, cases in panels.items()
        for test, case in cases.items()
    }
    with picture(path, width=1.7 * len(tests) + 0.4, height=1.25 * len(panels) + 0.5) as figure:
        grid = figure.subplots(len(panels), len(tests), squeeze=False)
        for row, (method, cases) in zip(grid, panels.items()):
            edges = np.histogram_bin_edges(np.concatenate([scores for scores, _ in cases.values()]), BINS)
            for axes, test in zip(row, tests):
                axes.set_yticks([])
                if test in cases:
                    _draw_histograms(axes, *cases[test], edges)
                    axes.set_title(titles[method, test])
                else:
                    axes.set_visible(False)
            row[0].set_ylabel(method.replace(" + ", "\n+ "))  # a name longer than a row meets its neighbour
        figure.supxlabel("anomaly score", fontsize=STYLE["axes.labelsize"])
        handles, labels = next(axes for axes in grid.flat if axes.get_visible()).get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside upper center", ncols=2, frameon=False)


def _draw_histograms(axes: "Axes", scores: np.ndarray, anomalous: np.ndarray, edges: np.ndarray) -> None:
    for label, colour, members in (("normal", NORMAL, ~anomalous), ("anomalous", ANOMALOUS, anomalous)):
        axes.hist(
            scores[members], edges.tolist(), density=True, histtype="stepfilled", label=label,
            facecolor=(colour, 0.35), edgecolor=colour, linewidth=0.8,
        )  # fmt: skip
    axes.locator_params(axis="x", nbins=4)


def plot_gallery(path: str | os.PathLike, items: Sequence[GalleryItem], *, columns: int = 2) -> None:
    """Draws images, each beside its score map; one colour scale for all maps.

    Args:
        path: of the picture, replaced atomically; its suffix is a key of `METADATA`.
        items: in reading order; images may differ in size.
        columns: items in a row.

    Raises:
        ValueError: no items, another suffix, a map or mask of another size than its image, a map not finite.
    """
    if not items:
        raise ValueError("items: got none, expected at least one")
    for position, item in enumerate(items):
        _check_item(item, where=f"items[{position}]")
    from matplotlib import cm, colors

    low, high = min(item.map.min() for item in items), max(item.map.max() for item in items)
    scale = cm.ScalarMappable(colors.Normalize(float(low), float(high)), "inferno")
    rows, columns = -(-len(items) // columns), min(columns, len(items))
    with picture(path, width=2.5 * columns + 0.7, height=1.42 * rows + 0.1) as figure:
        # Every third column of the grid is the gap between two items.
        grid = figure.add_gridspec(rows, 3 * columns - 1, width_ratios=([1, 1, 0.08] * columns)[:-1])
        drawn = []
        for position, item in enumerate(items):
            row, column = divmod(position, columns)
            left, right = (figure.add_subplot(grid[row, 3 * column + side]) for side in (0, 1))
            _draw_item(left, right, item, scale)
            drawn += [left, right]
        figure.colorbar(scale, ax=drawn, label="score map", pad=0.02, aspect=15 * rows)


def _draw_item(left: "Axes", right: "Axes", item: GalleryItem, scale: "ScalarMappable") -> None:
    truth, colour = ("anomalous", ANOMALOUS) if item.anomalous else ("normal", NORMAL)
    grey = item.image.mean(axis=2, keepdims=True) / 255
    heat = scale.to_rgba(item.map)[..., :3]
    left.imshow(item.image)
    right.imshow(0.3 * grey + 0.7 * heat)
    left.set_title(f"{name_in_picture(item.test)}, {truth}", loc="left", color=colour)
    right.set_title(f"score {item.score:#.3g}", loc="right")
    for axes in (left, right):
        axes.set_axis_off()
        if item.mask is not None and item.mask.any():
            axes.contour(item.mask, levels=[0.5], colors="white", linewidths=0.8)


def _check_item(item: GalleryItem, *, where: str) -> None:
    if item.image.dtype != np.uint8 or item.image.ndim != 3 or item.image.shape[2] != 3:
        raise ValueError(f"{where}.image: got {item.image.dtype} {item.image.shape}, expected uint8 [s s 3]")
    for name, array in (("map", item.map), ("mask", item.mask)):
        if array is not None and array.shape != item.image.shape[:2]:
            raise ValueError(f"{where}.{name}: got shape {array.shape}, expected {item.image.shape[:2]}")
    if not np.isfinite(item.map).all() or not np.isfinite(item.score):
        raise ValueError(f"{where}: the score or the map is not finite")


def name_in_picture(test: str) -> str:
    """The name of a test set in a picture: "defocus_blur" -> "defocus blur"."""
    return {"id": "ID", "mnist_m": "MNIST-M"}.get(test) or test.replace("_", " ")


@contextlib.contextmanager
def picture(path: str | os.PathLike, *, width: float, height: float) -> Iterator["Figure"]:
    """A figure of some inches to draw on, written to the path when the block ends.

    Raises ValueError for a path whose suffix is not a key of `METADATA`, before anything is drawn.
    """
    suffix = Path(path).suffix.lower()
    if suffix not in METADATA:
        raise ValueError(f"path: got {os.fspath(path)!r}, expected a suffix of {list(METADATA)}")
    import matplotlib
    from matplotlib.figure import Figure

    # Not pyplot, which keeps every figure alive and may open windows.
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(width, height), layout="constrained")
        yield figure
        content = io.BytesIO()
        figure.savefig(content, format=suffix[1:], metadata=METADATA[suffix])
    write_atomic(path, content.getvalue())
