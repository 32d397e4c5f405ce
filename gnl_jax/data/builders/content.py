"""What goes into a record, checked: the content of an image or mask file, and how many there are."""

import io
import os
from collections.abc import Mapping, Sequence

import numpy as np
from absl import logging
from PIL import Image

from gnl_jax.data.masks import read_masks
from gnl_jax.data.pixels import ImageError, read_file, read_image

_PNG, _JPEG = b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff"


def image_content(path: str | os.PathLike) -> tuple[bytes, tuple[int, int]]:
    """The content of an image file, and the image's height and width.

    PNG and JPEG files stay as they are, byte for byte. Others become PNG (`read_image`): TensorFlow decodes neither
    TIFF nor WebP.

    Raises:
        ImageError: a file that cannot be used; it is named.
    """
    data = read_file(path)
    image = read_image(data, name=os.fsdecode(path))
    return data if data.startswith((_PNG, _JPEG)) else png(image), image.shape[:2]


def mask_content(paths: Sequence[str | os.PathLike], shape: tuple[int, int]) -> bytes:
    """The content of the mask of an image of a given height and width; a black one where there is no file.

    One PNG file stays as it is, byte for byte; several files are joined.

    Raises:
        ImageError: a file that cannot be used, has another size, or no defect; it is named.
    """
    if not paths:
        return png(np.zeros(shape, np.uint8))
    mask, path = read_masks(paths), paths[0]
    if mask.shape != shape:
        raise ImageError(f"{path!r}: a mask of {mask.shape} pixels (height, width) for an image of {shape}")
    if not mask.any():
        raise ImageError(f"{path!r}: an empty mask for an image with a defect")
    data = read_file(path)
    return data if len(paths) == 1 and data.startswith(_PNG) else png(255 * mask.astype(np.uint8))


def png(image: np.ndarray) -> bytes:
    """An image uint8 [h w 3] or [h w] as the content of a PNG file."""
    file = io.BytesIO()
    Image.fromarray(image).save(file, "png")
    return file.getvalue()


def report_counts(what: str, found: Mapping[str, int], published: Mapping[str, int]) -> None:
    """Logs how many images there are, as a warning where they are not as many as were published."""
    different = [f"{name} {found.get(name, 0)} of {n}" for name, n in published.items() if found.get(name, 0) != n]
    if different:
        logging.warning("%s: not the number of images that was published: %s", what, ", ".join(different))
    else:
        logging.info("%s: %d images, as published", what, sum(found.values()))
