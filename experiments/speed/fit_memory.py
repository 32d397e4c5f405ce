"""Compares what `gnl-jax fit` says it takes of memory with its greatest memory, on drawn images.

python experiments/speed/fit_memory.py --cases=matched_bank/256/40,gnl/128/40 [--arguments="--epochs 1"]

A case is METHOD/SIZE/IMAGES. Each fit is a process of its own, without a cache of images or programs, so that compiling
counts. The process takes `start` before the estimate is made, which is beside what is said.
"""

import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
from absl import app, flags
from PIL import Image

from gnl_jax import console

CASES = flags.DEFINE_list("cases", ["matched_bank/256/40"], "METHOD/SIZE/IMAGES, comma-separated.")
ARGUMENTS = flags.DEFINE_string("arguments", "", "Further arguments of gnl-jax fit.")
START = 0.35  # GB of a process that has imported what a fit needs
SAID = re.compile(r"memory: this takes (about|less than) ([\d.]+) GB")


def draw_images(folder: Path, *, n: int, size: int) -> None:
    """Writes n pictures of one pattern in different light, with noise: good images."""
    cells = np.random.default_rng(0).integers(60, 190, (8, 8, 3)).astype(np.uint8)
    pattern = np.asarray(Image.fromarray(cells).resize((size, size), Image.Resampling.BILINEAR), np.float32)
    for i in range(n):
        rng = np.random.default_rng(i)
        image = pattern * rng.uniform(0.9, 1.1) + rng.normal(0, 6, pattern.shape)
        Image.fromarray(np.clip(image, 0, 255).astype(np.uint8)).save(folder / f"{i:05}.png", compress_level=1)


def measure(method: str, size: int, images: int) -> tuple[str, float, float]:
    """("about" or "less than", GB that were said, GB at the peak of the process)."""
    with tempfile.TemporaryDirectory() as folder:
        good = Path(folder) / "good"
        good.mkdir()
        draw_images(good, n=images, size=size)
        command = [sys.executable, "-m", "gnl_jax.cli.main", "fit", str(good), "--out", f"{folder}/x.gnl"]
        command += ["--method", method, "--size", str(size), *ARGUMENTS.value.split()]
        text, peak = run_alone(command, cache=folder)
    if not (said := SAID.search(text)):
        raise ValueError(f"{method}/{size}/{images}: no word of memory in {text!r}")
    return said[1], float(said[2]), peak / 1e9


# A new process counts the memory of the one that starts it as its own, so a small one starts it.
_ALONE = """
import resource, subprocess, sys
code = subprocess.run(sys.argv[1:]).returncode
print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)
sys.exit(code)
"""


def run_alone(command: list[str], *, cache: str) -> tuple[str, int]:
    """(what a command prints, its greatest memory in bytes); ValueError unless it succeeds."""
    environment = os.environ | {"XDG_CACHE_HOME": cache}
    done = subprocess.run([sys.executable, "-c", _ALONE, *command], env=environment, stdout=subprocess.PIPE, text=True)
    *printed, kilobytes = done.stdout.splitlines(keepends=True)
    text = "".join(printed)
    if done.returncode:
        raise ValueError(f"{' '.join(command)}: exit status {done.returncode}: {text}")
    return text, int(kilobytes) * 1024


def run() -> None:
    print(f"| case | said, GB | with {START} at the start | peak, GB | ratio |\n|---|---|---|---|---|")
    for case in CASES.value:
        method, size, images = case.split("/")
        words, said, peak = measure(method, int(size), int(images))
        total = said + START
        print(f"| {case} | {words} {said:.1f} | {total:.2f} | {peak:.2f} | {total / peak:.2f} |", flush=True)


if __name__ == "__main__":
    app.run(lambda argv: console.run(run), flags_parser=console.parse_flags)
