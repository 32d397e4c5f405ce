"""Measures how fast a detector decides on image files, beside how fast Pillow alone reads them, in the same run.

python experiments/speed/scoring.py --detector=part.gnl --images=FOLDER [--limit=200]

One by one: read, decode, resize and score one file, then the next, as a camera delivers them. As a stream: all files at
once, as `gnl-jax score` does, the next ones decoded while one is scored.
"""

import itertools
import os
import time
from concurrent.futures import ThreadPoolExecutor

import jax
import numpy as np
from absl import app, flags
from PIL import Image

from gnl_jax import console
from gnl_jax.data.listing import list_images
from gnl_jax.detection.artifact import load
from gnl_jax.detection.inspection import inspect, reader
from gnl_jax.machine import usable_cores

DETECTOR = flags.DEFINE_string("detector", None, "A file that `gnl-jax fit` made.")
IMAGES = flags.DEFINE_string("images", None, "Folder of images.")
LIMIT = flags.DEFINE_integer("limit", 200, "Images at most.", lower_bound=2)


def rate(call) -> float:
    begun = time.perf_counter()
    return sum(1 for _ in call()) / (time.perf_counter() - begun)


def decode(path: str) -> tuple[int, int]:
    with Image.open(path) as image:
        return image.convert("RGB").size


def run():
    detector = load(DETECTOR.value)
    names = itertools.islice(list_images(IMAGES.value), LIMIT.value)
    paths = [os.path.join(IMAGES.value, name) for name in names]
    list(inspect(detector, paths[:2]))  # compiled before anything is timed
    seconds = []
    for path in paths:
        begun = time.perf_counter()
        list(inspect(detector, [path]))
        seconds.append(time.perf_counter() - begun)
    p50, p99 = 1000 * np.quantile(seconds, (0.5, 0.99))
    stream = rate(lambda: inspect(detector, paths))
    with ThreadPoolExecutor(usable_cores()) as pool:
        read, pillow = (rate(lambda f=f: pool.map(f, paths)) for f in (reader(detector), decode))
    print(f"{len(paths)} images, {jax.devices()[0].device_kind}, {usable_cores()} cores, jax {jax.__version__}")
    print(f"one by one: median {p50:.0f} ms, 99th percentile {p99:.0f} ms")
    print(f"as a stream: {stream:.1f} images/s")
    print(f"read and resized only: {read:.0f} images/s; decoded by Pillow only: {pillow:.0f} images/s")


if __name__ == "__main__":
    flags.mark_flags_as_required(["detector", "images"])
    app.run(lambda argv: console.run(run), flags_parser=console.parse_flags)
