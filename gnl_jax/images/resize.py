"""Resizing on the host, as the published pipeline does it."""

import numpy as np
from PIL import Image


def resize(image, size):
    """Resize to a square with Pillow's anti-aliased bilinear filter; the aspect ratio is not kept.

    `image` uint8 [h w 3]; returns uint8 [size size 3]. Width first, then height, in two calls: within one
    call, newer versions of Pillow may take a tall image's axes in the other order, which moves values by one.
    Raises ValueError for another shape or type.
    """
    image = np.asarray(image)
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[-1] != 3 or 0 in image.shape:
        raise ValueError(f"image: expected uint8 [h w 3], got {image.dtype} {list(image.shape)}")
    wide = Image.fromarray(image).resize((size, image.shape[0]), Image.Resampling.BILINEAR)
    return np.asarray(wide.resize((size, size), Image.Resampling.BILINEAR))
