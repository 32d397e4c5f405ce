"""Predictions and decisions as figures, for a notebook."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from gnl_jax.detection.detector import Detector
from gnl_jax.detection.inspection import ERROR, Inspected
from gnl_jax.detection.record import Decision
from gnl_jax.methods.base import Prediction
from gnl_jax.report.overlay import TOP, heatmap, overlay, seen
from gnl_jax.text import printable

if TYPE_CHECKING:
    from matplotlib.figure import Figure

COLOURS = {"NG": "#b04700", "REVIEW": "#8a6100", "OK": "#00785a"}  # those of the pages; the word says it too
MOST = 24  # images of a figure


def show(
    prediction: Prediction[np.ndarray],
    images: np.ndarray,
    *,
    decisions: Sequence[Decision] | None = None,
    threshold: float | None = None,
    columns: int = 4,
) -> "Figure":
    """Images with their score maps, the highest scores first: clear up to the threshold, coloured and outlined above.

    >>> prediction = detector(images)  # doctest: +SKIP
    >>> show(prediction, images, decisions=detector.decide(prediction))  # doctest: +SKIP

    Args:
        prediction: with maps [n s s].
        images: what was predicted, uint8 [n s s 3].
        decisions: of `detector.decide`; they go into the titles.
        threshold: above which the map shows; None for half of the largest value.
        columns: images in a row.

    Returns:
        A figure of the 24 images with the highest scores at most, which a notebook shows.

    Raises:
        ValueError: no images, none with a map, or other numbers of images and decisions than of scores.
    """
    n = len(prediction.score)
    if not n or prediction.map is None:
        raise ValueError(f"prediction: got {n} images {'without maps' if n else ''}, expected one or more with maps")
    for name, given in (("images", images), ("decisions", decisions)):
        if given is not None and len(given) != n:
            raise ValueError(f"{name}: got {len(given)}, expected {n}, as many as scores")
    seen, mapped = np.shape(images[0])[:2], np.shape(prediction.map)[1:]
    if seen != mapped:  # maps of windows have their own scale, and show a rectangle alone where one was given
        raise ValueError(
            f"images: got {seen[1]}x{seen[0]} pixels and maps of {mapped[1]}x{mapped[0]}, expected one size; "
            "with windows show_inspected(list(detector.inspect(images, keep=True, maps=True)))"
        )
    threshold = float(np.max(prediction.map)) / 2 if threshold is None else threshold
    order = np.argsort(-np.asarray(prediction.score), kind="stable")[:MOST]
    pictures = [overlay(np.asarray(images[i]), np.asarray(prediction.map[i]), threshold) for i in order]
    titles = [_title(float(prediction.score[i]), None if decisions is None else decisions[i]) for i in order]
    return _grid(pictures, titles, threshold, columns=columns)


def show_inspected(results: Sequence[Inspected], *, threshold: float | None = None, columns: int = 4) -> "Figure":
    """`show` for what `detector.inspect(..., keep=True)` returned; what could not be read is left out."""
    kept = [result for result in results if result.decision != ERROR]
    if not kept or kept[0].map is None or kept[0].image is None:
        raise ValueError("results: expected some with image and map, as of detector.inspect(..., keep=True)")
    prediction = Prediction(np.array([r.score for r in kept]), np.stack([_map_on_image(r) for r in kept]))
    decisions = [Decision(r.decision, r.reason, r.p_value, r.drift_p_value) for r in kept]
    images = np.stack([seen(r).image for r in kept])
    return show(prediction, images, decisions=decisions, threshold=threshold, columns=columns)


def _map_on_image(result: Inspected) -> np.ndarray:
    """The map in the pixels of the image that was kept: with windows that is the whole image."""
    kept, whole = seen(result), result.frame_map
    return whole if whole is not None and whole.shape == kept.image.shape[:2] else kept.map


def show_decisions(detector: Detector, prediction: Prediction[np.ndarray]) -> "Figure":
    """Where scores fall among those of the good parts that calibrated, with the thresholds: a bar each 1/20 of them.

    Args:
        detector: a calibrated one.
        prediction: what it returned; each image is a mark, by its decision.

    Raises:
        ValueError: a detector that no image calibrates.
    """
    from matplotlib.figure import Figure

    rules, record = detector.require_record().require_rules(), detector.require_record()
    decisions, scores = detector.decide(prediction), np.asarray(prediction.score)
    figure = Figure(figsize=(7, 3), layout="constrained")
    axes = figure.subplots()
    good = record.calibration.score
    axes.hist(good, bins=min(20, len(good)), color="#9fbfd3", label=f"{len(good)} good parts that calibrate")
    for name, line, rule, value in zip(("NG", "REVIEW"), ("-", "--"), rules, record.thresholds):
        if rule is not None and value is not None:
            axes.axvline(value, color="black", linestyle=line, label=f"{name}: {float(rule.rate):.3g} of good parts")
    marks = {"NG": "^", "REVIEW": "D", "OK": "o"}
    for name, mark in marks.items():
        mine = scores[[said.decision == name for said in decisions]]
        if len(mine):
            height = np.full(len(mine), 0.05 * axes.get_ylim()[1])
            axes.plot(mine, height, mark, color=COLOURS[name], alpha=0.7, label=f"{len(mine)} {name}", zorder=3)
    axes.set_xlabel("score")
    axes.set_ylabel("calibration parts")
    axes.legend(frameon=False, fontsize=8)
    return figure


def _title(score: float, said: Decision | None) -> tuple[str, str]:
    """(text, colour) above a picture."""
    if said is None:
        return f"score {score:.4g}", "black"
    p_value = "" if said.p_value is None else f", p {said.p_value:.3g}"
    reason = " by drift" if said.reason == "drift" else ""
    return printable(f"{said.decision}{reason}  {score:.4g}{p_value}").strip(), COLOURS.get(said.decision, "black")


def _grid(
    pictures: Sequence[np.ndarray], titles: Sequence[tuple[str, str]], threshold: float, *, columns: int
) -> "Figure":
    from matplotlib.figure import Figure

    columns = max(1, min(columns, len(pictures)))
    rows = -(-len(pictures) // columns)
    figure = Figure(figsize=(2.4 * columns, 2.7 * rows + 0.7), layout="constrained")  # no pyplot, which keeps figures
    grid = figure.subplots(rows, columns, squeeze=False)
    for axes in grid.flat:
        axes.set_axis_off()
    for axes, picture, (title, colour) in zip(grid.flat, pictures, titles):
        axes.imshow(picture)
        axes.set_title(title, fontsize=9, color=colour)
    _colour_bar(figure, grid, threshold)
    return figure


def _colour_bar(figure: "Figure", grid: np.ndarray, threshold: float) -> None:
    from matplotlib import cm, colors

    colours = heatmap(np.linspace(1, TOP, 256), 1.0) / 255
    norm = colors.Normalize(threshold, TOP * threshold)
    scale = cm.ScalarMappable(norm, colors.ListedColormap(colours))
    bar = figure.colorbar(scale, ax=grid, location="bottom", shrink=0.6, aspect=40)
    bar.set_label("score map, from the threshold on", fontsize=8)
