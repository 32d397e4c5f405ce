"""Curves of AUROC, and distributions of scores side by side; drawn as in `gnl_jax.evaluation.plots`."""

import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from gnl_jax.evaluation.metrics import auroc
from gnl_jax.evaluation.plots import ANOMALOUS, BINS, NORMAL, STYLE, name_in_picture, picture
from gnl_jax.evaluation.scores import Scored

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# Colours of Okabe and Ito, each with a marker and a line of its own.
LINES = (
    ("#0072B2", "o", "-"),
    ("#E69F00", "s", "--"),
    ("#009E73", "^", "-."),
    ("#D55E00", "D", "-"),
    ("#CC79A7", "v", "--"),
    ("#56B4E9", "P", "-."),
    ("#000000", "X", ":"),
)


class Point(NamedTuple):
    """One point of a curve: a mean and, with several seeds, their standard deviation; fractions."""

    x: float
    mean: float
    deviation: float | None = None


def plot_curves(
    path: str | os.PathLike, curves: Mapping[str, Sequence[Point]], *, xlabel: str, ticks: Sequence[float]
) -> None:
    """Draws AUROC in percent against something, a line for each label, a band of one standard deviation around it.

    Args:
        path: of the picture, replaced atomically; its suffix is a key of `gnl_jax.evaluation.plots.METADATA`.
        curves: label to points, ascending in x; at most as many as there are `LINES`.
        xlabel: what x is.
        ticks: of x.

    Raises:
        ValueError: another suffix; no curves, or too many to tell apart.
    """
    if not 0 < len(curves) <= len(LINES):
        raise ValueError(f"curves: got {len(curves)}, expected 1 to {len(LINES)}")
    with picture(path, width=4.2, height=2.8) as figure:
        axes = figure.subplots()
        for (label, points), (colour, marker, style) in zip(curves.items(), LINES):
            x, mean = (100 * np.array([getattr(p, field) for p in points]) for field in ("x", "mean"))
            axes.plot(
                x / 100, mean, style, color=colour, marker=marker, label=label,
                markersize=3.5, linewidth=1.2, clip_on=False, zorder=3,
            )  # fmt: skip
            if any(p.deviation for p in points):
                spread = 100 * np.array([p.deviation or 0 for p in points])
                axes.fill_between(x / 100, mean - spread, mean + spread, color=colour, alpha=0.15, linewidth=0)
        axes.set_xticks(ticks)
        axes.set_xlabel(xlabel)
        axes.set_ylabel("AUROC (%)")
        axes.grid(axis="y", color="0.9", linewidth=0.6)
        axes.set_axisbelow(True)
        in_one_line = len(curves) <= 4 and sum(map(len, curves)) <= 36  # characters that are as wide as the figure
        figure.legend(loc="outside upper center", ncols=4 if in_one_line else 2, frameon=False)


def plot_distributions(path: str | os.PathLike, panels: Mapping[str, Mapping[str, Mapping[str, Scored]]]) -> None:
    """Draws where the scores of normal and anomalous images lie on each test set; a row per task, a column per method.

    Beside each other, for each test set: to the left the histogram of the normal images, to the right that of the
    anomalous ones, as wide as one another at their peaks, with their medians; and the AUROC in percent.

    Args:
        path: as for `plot_curves`.
        panels: task to method to test set ("id" first) to scores.

    Raises:
        ValueError: another suffix; no panels; scores that `auroc` refuses.
    """
    if not panels or not all(panels.values()):
        raise ValueError("panels: got none, expected at least one task with one method")
    columns = max(map(len, panels.values()))
    tests = max(len(cases) for methods in panels.values() for cases in methods.values())
    with picture(path, width=(0.55 * tests + 0.5) * columns, height=1.9 * len(panels) + 0.4) as figure:
        grid = figure.subplots(len(panels), columns, squeeze=False)
        for line, (task, methods) in zip(grid, panels.items()):
            for axes, (method, cases) in zip(line, methods.items()):
                _draw_distributions(axes, cases)
                axes.set_title(f"{task}: {method}")
            for axes in line[len(methods) :]:
                axes.set_visible(False)
            line[0].set_ylabel("anomaly score")
        figure.supxlabel("AUROC (%) and test set", fontsize=STYLE["axes.labelsize"])
        handles = grid[0, 0].get_legend_handles_labels()
        figure.legend(*handles, loc="outside upper center", ncols=2, frameon=False)


def _draw_distributions(axes: "Axes", cases: Mapping[str, Scored], *, width: float = 0.42) -> None:
    edges = np.histogram_bin_edges(np.concatenate([scored.score for scored in cases.values()]), BINS)
    for place, scored in enumerate(cases.values()):
        for label, colour, side, wanted in (("normal", NORMAL, -1, False), ("anomalous", ANOMALOUS, 1, True)):
            scores = scored.score[scored.anomalous == wanted]
            counts, _ = np.histogram(scores, edges)
            (filled,) = np.nonzero(counts)
            span = slice(filled[0], filled[-1] + 1)
            axes.stairs(
                place + side * width * counts[span] / counts.max(), edges[span.start : span.stop + 1],
                baseline=place, orientation="horizontal", fill=True,
                facecolor=(colour, 0.35), edgecolor=colour, linewidth=0.6, label=label if place == 0 else None,
            )  # fmt: skip
            axes.plot([place, place + side * width], [np.median(scores)] * 2, color=colour, linewidth=1.4)
    names = [name_in_picture(test).replace(" ", "\n") for test in cases]
    names = [f"{100 * auroc(*scored):.1f}\n{name}" for name, scored in zip(names, cases.values())]
    axes.set_xticks(range(len(cases)), names, fontsize=STYLE["xtick.labelsize"])
    axes.tick_params(axis="x", length=0)
    axes.tick_params(axis="y", labelsize=STYLE["xtick.labelsize"])
    axes.locator_params(axis="y", nbins=5)
    axes.set_xlim(-0.6, len(cases) - 0.4)
