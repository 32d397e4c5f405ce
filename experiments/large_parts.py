"""Writes generated parts with tiny defects: OUT/train/good, OUT/test/good and a folder for each length of a defect.

python experiments/large_parts.py --out=OUT [--height=3648 --width=5472] [--defect=12] [--train=18 --good=5 --bad=5] \
    [--within=X,Y,W,H] [--seed=0]

A part is brushed metal with holes: texture, holes, light and noise differ from part to part. A defect is a pit, a
scratch or a stain of that many pixels, somewhere in the rectangle `within`. Files are TIFF: quick to write and read.
"""

from pathlib import Path

import numpy as np
from absl import app, flags
from PIL import Image

from gnl_jax import console
from gnl_jax.detection.region import parse_roi

OUT = flags.DEFINE_string("out", None, "Folder to write.")
SHAPE = [flags.DEFINE_integer("height", 3648, "Of a part, pixels."), flags.DEFINE_integer("width", 5472, "The same.")]
DEFECT = flags.DEFINE_list("defect", ["12"], "Lengths of defects, pixels.")
PARTS = [flags.DEFINE_integer(*of, "Parts.") for of in (("train", 18), ("good", 5), ("bad", 5))]
WITHIN = flags.DEFINE_string("within", "", "Where defects are, by default anywhere.")
SEED = flags.DEFINE_integer("seed", 0, "Of everything.")


def part(number: int, *, defect: int = 0) -> np.ndarray:
    """A part of that number, uint8 [h w 3], with a defect of that length."""
    rng, (h, w) = np.random.default_rng([SEED.value, number]), (flag.value for flag in SHAPE)
    coarse = Image.fromarray(rng.normal(0, 5, (12, 18)).astype(np.float32)).resize((w, h), Image.Resampling.BICUBIC)
    brushed = np.cumsum(rng.normal(0, 1, (h, -(-w // 8))), axis=1).repeat(8, 1)[:, :w]
    grey = rng.uniform(125, 135) + np.asarray(coarse) + 3 * np.sin(brushed)
    rows, columns = np.ogrid[:h, :w]
    for y in range(h // 8, h, h // 4):
        for x in range(w // 12, w, w // 6):
            at, radius = rng.normal((y, x), 3), min(h, w) / 40
            box = np.s_[max(0, y - h // 8) : y + h // 8, max(0, x - w // 12) : x + w // 12]
            grey[box] -= 80 / (1 + np.exp(np.hypot(rows[box[0]] - at[0], columns[:, box[1]] - at[1]) - radius))
    if n := defect:
        left, top, width, height = parse_roi(WITHIN.value) if WITHIN.value else (0, 0, w, h)
        y, x = top + rng.integers(height - n + 1), left + rng.integers(width - n + 1)
        dy, dx = rows[y : y + n] - y - (n - 1) / 2, columns[:, x : x + n] - x - (n - 1) / 2
        scratch = abs(dy - dx) < max(1.5, n / 16)
        shapes = (-70 * (np.hypot(dy, dx) < n / 2), 70 * scratch, -35 * (np.hypot(dy, 1.5 * dx) < n / 2))
        grey[y : y + n, x : x + n] += shapes[number % 3]
    noisy = grey + rng.normal(0, 2, (h, w)).astype(np.float32)
    return np.clip(noisy[..., None] + np.array([2, 0, -2], np.float32), 0, 255).astype(np.uint8)


def run():
    train, good, bad = (flag.value for flag in PARTS)
    wanted = [("train/good", range(train), 0), ("test/good", range(1000, 1000 + good), 0)]
    wanted += [(f"test/{length}_pixels", range(2000, 2000 + bad), int(length)) for length in DEFECT.value]
    for folder, numbers, defect in wanted:
        (path := Path(OUT.value, folder)).mkdir(parents=True, exist_ok=True)
        for number in numbers:
            Image.fromarray(part(number, defect=defect)).save(path / f"{number}.tiff")


if __name__ == "__main__":
    flags.mark_flag_as_required("out")
    app.run(lambda argv: console.run(run), flags_parser=console.parse_flags)
