"""The page of a fit: what was found in the folder, the most unusual good images, and what more images would buy."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from gnl_jax.detection.detector import Detector
from gnl_jax.detection.options import FitOptions
from gnl_jax.detection.parts import GoodImages, good_images
from gnl_jax.detection.ranking import predict_as_new
from gnl_jax.detection.survey import Survey, lines
from gnl_jax.files import write_atomic
from gnl_jax.progress import progress_bar
from gnl_jax.report.html import template
from gnl_jax.report.overlay import geometry_of, in_source, overlay, picture, read_native, shown_threshold, small
from gnl_jax.report.rates_curve import bound, drawing, table
from gnl_jax.report.schema import shown
from gnl_jax.text import shell_word

TEMPLATE = "fit.html.jinja"
SHOWN, SIDE = 10, 640
MOST_NAMED = 40  # names of a list on the page


def write_fit_page(
    detector: Detector,
    folder: str | os.PathLike,
    path: Path,
    *,
    survey: Survey,
    options: FitOptions,
    command: str,
    following: str,
) -> Path:
    """Writes the page, whole or not at all. Its path.

    Images are not ranked where `learned_from_one_part`; the page says so.

    Args:
        detector: what the fit made.
        folder: of the good images.
        path: of the page.
        survey: of the folder.
        options: of the fit.
        command: that made it, ready for a shell; the page adds --exclude.
        following: the next command, "" for none.
    """
    record = detector.require_record()
    native = record.grid and record.grid.native
    good = good_images(folder, record.config.dataset, group_by=options.group_by, exclude=options.exclude, native=native)
    parts = len(set(good.parts))
    page = template(TEMPLATE).render(
        **shown({
            "title": f"Fit of {path.name.removesuffix('.fit.html')}",
            "found": lines(survey),
            "lists": _lists(survey),
            "unusual": [] if learned_from_one_part(detector) else _unusual(detector, folder, good),
            "images": len(good.names),
            "command": command,
            "following": following,
            "rates": _rates(parts, options),
        })
    )  # fmt: skip
    write_atomic(path, page)
    return path


def _lists(survey: Survey) -> dict[str, list[str]]:
    """Headings and lines of what the sentences name only some of."""
    sizes = [f"{width}x{height}: {n}" for (width, height), n in survey.headers.sizes.items()]
    found = {
        "Sizes": sizes if len(sizes) > 1 else [],
        "Copies, left out": [f"{copy} of {original}" for copy, original in survey.copies],
        "Almost the same picture": [f"{a} and {b}" for a, b in survey.near],
        "Brightness that stands out": [f"{name}: {value:.0f}" for name, value in survey.exposures],
    }
    return {
        name: [*found[:MOST_NAMED], *([f"and {len(found) - MOST_NAMED} more"] if len(found) > MOST_NAMED else [])]
        for name, found in found.items()
        if found
    }


def learned_from_one_part(detector: Detector) -> bool:
    """Whether a memory bank has images of one part alone: without that part nothing is left to score them by."""
    parts = detector.variables.get("parts")
    return parts is not None and len(np.unique(parts)) < 2


def _unusual(detector: Detector, folder: str | os.PathLike, good: GoodImages) -> list[dict[str, Any]]:
    """The images with the highest scores: pictures at their own aspect, without and with the score map."""
    record = detector.require_record()
    with progress_bar("looking for unusual images", len(good.images)) as advance:
        scores = predict_as_new(detector, good, maps=False, advance=advance).score
    top = np.argsort(-scores, kind="stable")[:SHOWN]
    maps = predict_as_new(detector, good.take(top)).map  # of all at once: each call compiles
    if maps is None:  # of a method without maps
        return []
    threshold = shown_threshold(record, maps)
    learned = set(record.manifest["data"]["fit"])
    found = []
    for i, score_map in zip(top, maps):
        image = small(read_native(detector, os.path.join(folder, good.names[i])), SIDE)
        placed = in_source(score_map, image.shape[:2], geometry_of(detector))
        found.append({
            "name": good.names[i],
            "exclude": shell_word(f"--exclude={good.names[i]}"),
            "score": f"{scores[i]:.4g}",
            "use": "learned from" if good.hashes[i] in learned else "calibrates",
            "image": picture(image, SIDE),
            "overlay": picture(overlay(image, placed, threshold), SIDE),
        })  # fmt: skip
    return found


def _rates(parts: int, options: FitOptions) -> Mapping[str, Any]:
    rows = [
        {
            "parts": f"{row.parts:,}",
            "now": row.parts == parts,
            "calibrating": row.calibrating,
            "review": f"{100 * row.review.k / (row.review.n + 1):.3g} %",
            "bound": f"{100 * bound(row.review):.3g} %",
            "ng": f"{100 * row.ng.k / (row.ng.n + 1):.3g} %" if row.ng else "never",
        }
        for row in table(parts, options)
    ]
    return {"rows": rows, "drawing": drawing(parts, options)}
