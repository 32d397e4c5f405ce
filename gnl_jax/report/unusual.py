"""The most unusual of the good images on a page, so that a bad part among them is seen."""

import html
import os
from pathlib import Path

import numpy as np

from gnl_jax.detection.detector import Detector
from gnl_jax.detection.options import FitOptions
from gnl_jax.detection.parts import GoodImages, good_images
from gnl_jax.detection.ranking import predict_as_new
from gnl_jax.files import write_atomic
from gnl_jax.images.resize import Geometry
from gnl_jax.progress import progress_bar
from gnl_jax.report.overlay import in_source, overlay, picture, shown_threshold, small
from gnl_jax.text import printable

SHOWN, SIDE = 10, 256

_PAGE = """<!doctype html>
<html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; img-src data:; style-src 'unsafe-inline'">
<title>The most unusual good images</title>
<style>
:root {{ color-scheme: light dark; font: 15px/1.5 system-ui, sans-serif }}
body {{ margin: 2rem auto; max-width: 60rem; padding: 0 1rem }}
figure {{ margin: 0 0 1.5rem; display: grid; grid-template-columns: 1fr 1fr; gap: .5rem; max-width: 34rem }}
img {{ width: 100% }} figcaption {{ grid-column: 1 / -1; overflow-wrap: anywhere }}
</style>
<h1>The most unusual of {n} good images</h1>
<p>Highest scores first, the score map beside each image. If one of them shows a bad part, fit again and leave it out:
<code>--exclude FILE</code>. An image that was learned from scores lower than it would if it were new.</p>
{figures}
</html>
"""


def write_unusual(detector: Detector, folder: str | os.PathLike, path: Path, *, options: FitOptions) -> Path:
    """Writes the page, whole or not at all: the ten images of the folder with the highest scores. Its path."""
    record = detector.require_record()
    data = record.manifest["data"]
    native = record.grid and record.grid.native
    good = good_images(folder, record.config.dataset, group_by=options.group_by, exclude=options.exclude, native=native)
    with progress_bar("looking for unusual images", len(good.images)) as advance:
        scores = predict_as_new(detector, good, maps=False, advance=advance).score
    top = np.argsort(-scores, kind="stable")[:SHOWN]
    pictures = [_picture(detector, good.take([i])) for i in top]
    _, review = record.thresholds
    threshold = shown_threshold(record, np.array([score_map.max() for _, score_map in pictures]))
    of_review = "" if review is None else f" (review above {review:.4g})"
    learned = set(data["fit"])
    figures = [
        f'<figure><img alt="" src="{picture(image, SIDE)}">'
        f'<img alt="score map" src="{picture(overlay(image, score_map, threshold), SIDE)}">'
        f"<figcaption>{_text(good.names[i])}<br>score {scores[i]:.4g}{of_review}, "
        f"{'learned from' if good.hashes[i] in learned else 'calibrates'}</figcaption></figure>"
        for i, (image, score_map) in zip(top, pictures)
    ]
    write_atomic(path, _PAGE.format(n=len(good.images), figures="\n".join(figures)))
    return path


def _picture(detector: Detector, one: GoodImages) -> tuple[np.ndarray, np.ndarray]:
    """An image as a small picture uint8 [h w 3] and its score map on it, float32 [h w]."""
    (image,), (score_map,) = one.images[np.zeros(1, np.int64)], predict_as_new(detector, one).map
    image = small(image, SIDE)
    geometry = detector.grid or Geometry(detector.size)  # good images are squares already
    return image, in_source(score_map, image.shape[:2], geometry)


def _text(name: str) -> str:
    return html.escape(printable(name))
