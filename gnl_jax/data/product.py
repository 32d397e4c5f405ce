"""The example product: generated photographs of a machined plate, good and defective, under two lamps.

No image of a real part is needed to try an inspection, and every picture made from these may be shared.
"""

import dataclasses
import os
import shutil
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image

from gnl_jax.data.lighting import OVERSAMPLED, Lamp, light, photograph
from gnl_jax.data.plate import FASTENERS, draw_pose, plate
from gnl_jax.data.plate_defects import SURFACE_DEFECTS, gap

KINDS = ("dent", "missing", "scratch", "stain")
# The lamp that a detector is fitted under, and the one that replaces it: warmer, dimmer, and further to the right.
LAMPS = {"lamp_a": Lamp(), "lamp_b": Lamp(azimuth=105, elevation=50, kelvin=4300, exposure=0.8)}


class Photograph(NamedTuple):
    """One photograph.

    Attributes:
        image: uint8 [size size 3], RGB.
        mask: bool [size size], True on the defect.
    """

    image: np.ndarray
    mask: np.ndarray


def photograph_part(
    index: int,
    *,
    kind: str = "good",
    strength: float = 0.5,
    lamps: tuple[Lamp, ...] = (Lamp(),),
    size: int = 256,
    seed: int = 0,
    noise: float = 1.0,
) -> list[Photograph]:
    """One part, photographed under each lamp.

    A part of the same index and seed has the same brushing, place and screws, whatever its defect and the lamp.

    Args:
        index: of the part; each is another one.
        kind: "good" or a member of `KINDS`.
        strength: of the defect: 0, hardly to be seen, to 1, obvious. What is missing is a brass pin below 0.5, a screw
            from there on.
        lamps: each gives a photograph; its noise and a small error of exposure differ from lamp to lamp.
        size: side of the image in pixels.
        seed: of everything random; on one machine the same bits.
        noise: factor on the camera's noise.

    Raises:
        ValueError: an unknown kind, a strength outside [0, 1], a size below 64; the argument is named.
    """
    if kind not in ("good", *KINDS):
        raise ValueError(f"kind: got {kind!r}, expected one of {['good', *KINDS]}")
    if not 0 <= strength <= 1:
        raise ValueError(f"strength: got {strength}, expected 0 to 1")
    if size < 64:
        raise ValueError(f"size: got {size}, expected at least 64")
    part, damage, camera = (np.random.default_rng([seed, index, stream]) for stream in range(3))
    side, pose = OVERSAMPLED * size, draw_pose(part)
    mask = np.zeros((side, side), np.bool_)
    if kind == "missing":
        missing = int(damage.integers(0, 4) if strength >= 0.5 else damage.integers(4, len(FASTENERS)))
        surface, mask = plate(part, side, pose, missing), gap(side, pose, missing)
    else:
        surface = plate(part, side, pose)
        if kind != "good":
            surface, mask = SURFACE_DEFECTS[kind](damage, surface, pose, strength)
    whole = np.any(mask.reshape(size, OVERSAMPLED, size, OVERSAMPLED), axis=(1, 3))
    taken = []
    for lamp in lamps:
        exposure = lamp.exposure * float(np.exp(camera.normal(0, 0.015)))
        taken.append(Photograph(photograph(camera, light(surface, lamp), exposure=exposure, noise=noise), whole))
    return taken


@dataclasses.dataclass(frozen=True)
class Counts:
    """How many parts the example product has.

    Attributes:
        good: good parts to fit on.
        test_good: other good parts, photographed under both lamps.
        defects: parts of each of `KINDS`, photographed under both lamps.
        new_good: further good parts under the second lamp.

    Raises:
        ValueError: a count below 1; it is named.
    """

    good: int = 200
    test_good: int = 46
    defects: int = 12
    new_good: int = 60

    def __post_init__(self):
        for field in dataclasses.fields(self):
            if getattr(self, field.name) < 1:
                raise ValueError(f"{field.name}: got {getattr(self, field.name)}, expected 1 or more")

    @property
    def parts(self) -> int:
        """All of them."""
        return self.good + self.test_good + len(KINDS) * self.defects + self.new_good


class _Shot(NamedTuple):
    """A part of the folders: "train/good" or "test/dent", its file's stem, and as `photograph_part` takes it."""

    folder: str
    name: str
    number: int
    kind: str
    strength: float
    lamps: tuple[str, ...]


def _shots(counts: Counts) -> Iterator[_Shot]:
    """Every part is in one folder. Defects of a kind are evenly spaced in strength: hard and easy ones in every set."""
    index, both = 0, tuple(LAMPS)
    for folder, kind, count, lamps in (
        ("train/good", "good", counts.good, both[:1]),
        ("train/good", "good", counts.new_good, both[1:]),
        ("test/good", "good", counts.test_good, both),
        *((f"test/{kind}", kind, counts.defects, both) for kind in KINDS),
    ):
        for i in range(count):
            yield _Shot(folder, f"{i:03d}", index, kind, (i + 0.5) / count, lamps)
            index += 1


def write_product(
    folder: str | os.PathLike,
    counts: Counts = Counts(),
    *,
    size: int = 256,
    seed: int = 0,
    advance: Callable[[int], object] = lambda n: None,
) -> int:
    """Writes the example product as folders of PNG files, laid out as MVTec AD is.

        lamp_a/train/good/                        to fit a detector on
        lamp_a/test/good/, lamp_a/test/KIND/      other parts, good and defective
        lamp_a/ground_truth/KIND/                 masks of the defects
        lamp_b/train/good/                        good parts under the new lamp, to recalibrate with
        lamp_b/test/, lamp_b/ground_truth/        the same test parts under the new lamp

    Args:
        folder: is made in one step when all is written; must not exist, or be empty.
        counts: how many parts.
        size, seed: as for `photograph_part`.
        advance: called with 1 after each part.

    Returns:
        How many images were written, masks not counted.

    Raises:
        ValueError: a folder that is not empty, or a size that is too small.
    """
    root = Path(folder).absolute()
    if root.exists() and any(root.iterdir()):
        raise ValueError(f"{os.fspath(folder)!r}: holds files already, expected an empty folder or none")
    partial = root.with_name(f".{root.name}.{os.getpid()}.tmp")

    def write(shot: _Shot) -> int:
        lamps = tuple(LAMPS[name] for name in shot.lamps)
        taken = photograph_part(shot.number, kind=shot.kind, strength=shot.strength, lamps=lamps, size=size, seed=seed)
        for lamp, photo in zip(shot.lamps, taken):
            _save(partial / lamp / shot.folder / f"{shot.name}.png", photo.image)
            if shot.kind != "good":
                mask = partial / lamp / "ground_truth" / shot.kind / f"{shot.name}_mask.png"
                _save(mask, 255 * photo.mask.astype(np.uint8))
        return len(taken)

    written = 0
    try:
        with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:  # NumPy and Pillow work outside Python's lock
            for images in pool.map(write, _shots(counts)):
                written += images
                advance(1)
        partial.replace(root)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return written


def _save(path: Path, pixels: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path, compress_level=1)
