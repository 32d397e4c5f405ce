"""What image files say of themselves before they are decoded."""

import os
from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

from PIL import Image, UnidentifiedImageError


class Headers(NamedTuple):
    """How many files have each size (width, height) and each mode of Pillow's, the most frequent first."""

    sizes: dict[tuple[int, int], int]
    modes: dict[str, int]


def read_headers(paths: Sequence[str | os.PathLike]) -> Headers:
    """Sizes and modes of image files, as stored; files that cannot be opened are not counted."""
    sizes: Counter[tuple[int, int]] = Counter()
    modes: Counter[str] = Counter()
    for path in paths:
        try:
            with Image.open(path) as image:
                sizes[image.size] += 1
                modes[image.mode] += 1
        except (OSError, UnidentifiedImageError, ValueError, Image.DecompressionBombError):
            continue
    return Headers(dict(sizes.most_common()), dict(modes.most_common()))
