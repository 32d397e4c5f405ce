"""What a folder of good images holds, before anything is learned from it: sizes, modes, copies, odd exposures."""

import os
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from ml_collections import ConfigDict

from gnl_jax.data.headers import Headers, read_headers
from gnl_jax.detection.near_copies import NEAR, distances, small_greys
from gnl_jax.detection.parts import GoodImages, read_good

SPREADS, LEAST = 5, 12.0  # an exposure stands out beyond so many robust deviations, and so many of 255 grey levels
CHUNK = 512  # images compared with all others at once
MOST_NAMED = 3
_DEVIATION = 1.4826  # standard deviations of a normal distribution in its median absolute deviation


class Survey(NamedTuple):
    """What was found.

    Attributes:
        images, parts: how many there are, copies included.
        headers: sizes and modes.
        copies: (copy, the image that it is a copy of), pixel for pixel as the detector sees them.
        near: pairs of images of different parts that are almost the same picture (`near_copies.NEAR`).
        brightness: lowest, median and highest mean brightness of an image, 0 to 255.
        exposures: (name, mean brightness) of those that stand out.
    """

    images: int
    parts: int
    headers: Headers
    copies: tuple[tuple[str, str], ...]
    near: tuple[tuple[str, str], ...]
    brightness: tuple[float, float, float]
    exposures: tuple[tuple[str, float], ...]


def survey_folder(
    root: str | os.PathLike, dataset: ConfigDict, *, group_by: str = "", exclude: Sequence[str] = ()
) -> Survey:
    """Looks through the images of a folder; arguments and errors are those of `read_good`."""
    good = read_good(root, dataset, group_by=group_by, exclude=exclude)
    small = small_greys(good.images)
    first = {digest: i for i, digest in reversed(list(enumerate(good.hashes)))}
    originals = [first[digest] for digest in good.hashes]
    copies = tuple((good.names[i], good.names[j]) for i, j in enumerate(originals) if i != j)
    kept = sorted(first.values())
    brightness = small.mean(1)
    return Survey(
        len(good.names),
        len(set(good.parts)),
        read_headers([os.path.join(root, name) for name in good.names]),
        copies,
        _near(good.take(kept), small[kept] - brightness[kept, None]),
        (float(brightness.min()), float(np.median(brightness)), float(brightness.max())),
        tuple((good.names[i], float(brightness[i])) for i in standing_out(brightness)),
    )


def standing_out(brightness: np.ndarray) -> list[int]:
    """Positions of values [n] far from the median, the farthest first."""
    away = np.abs(brightness - np.median(brightness))
    limit = max(SPREADS * _DEVIATION * float(np.median(away)), LEAST)
    return [int(i) for i in np.argsort(-away, kind="stable") if away[i] > limit]


def _near(good: GoodImages, small: np.ndarray) -> tuple[tuple[str, str], ...]:
    """Pairs of different parts whose thumbnails [n 256] of mean 0 are almost equal, each pair once."""
    parts, pairs, limit = np.unique(good.parts, return_inverse=True)[1], [], None
    for start in range(0, len(small), CHUNK):
        rows = np.arange(start, min(start + CHUNK, len(small)))
        apart = distances(small[rows], small)
        apart[parts[rows, None] == parts] = np.inf
        finite = apart[np.isfinite(apart)]
        if not len(finite):  # one part alone
            continue
        limit = NEAR * float(np.median(finite)) if limit is None else limit
        pairs += [(int(i), int(j)) for i, j in zip(rows, apart.argmin(1)) if apart[i - start, j] <= limit]
    unique = sorted({tuple(sorted(pair)) for pair in pairs})
    return tuple((good.names[i], good.names[j]) for i, j in unique)


def lines(survey: Survey) -> list[str]:
    """The survey in sentences."""
    of_parts = "" if survey.parts == survey.images else f" of {survey.parts} parts"
    sizes, modes = survey.headers
    (width, height), most = next(iter(sizes.items()), ((0, 0), 0))
    other = f", most of {len(sizes)} sizes ({most})" if len(sizes) > 1 else ""
    kinds = ", ".join(f"{n} {mode}" for mode, n in modes.items()) if len(modes) > 1 else next(iter(modes), "")
    low, median, high = survey.brightness
    said = [
        f"found {survey.images} images{of_parts}: {width}x{height}{other}; {kinds}; "
        f"brightness {low:.0f} to {high:.0f} of 255, median {median:.0f}"
    ]
    if survey.copies:
        said.append(f"{len(survey.copies)} images are copies: {_some([f'{a!r} of {b!r}' for a, b in survey.copies])}")
    if survey.near:
        named = _some([f"{a!r} and {b!r}" for a, b in survey.near])
        said.append(f"{len(survey.near)} pairs are almost the same picture: {named}")
    if survey.exposures:
        named = _some([f"{name!r} ({value:.0f})" for name, value in survey.exposures])
        said.append(f"the brightness of {len(survey.exposures)} images stands out: {named}")
    return said


def _some(texts: Sequence[str]) -> str:
    more = f" and {len(texts) - MOST_NAMED} more" if len(texts) > MOST_NAMED else ""
    return ", ".join(texts[:MOST_NAMED]) + more
