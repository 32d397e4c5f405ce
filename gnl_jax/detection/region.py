"""What part of the picture is inspected: a rectangle or a mask. Outside it nothing counts."""

import os
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from ml_collections import ConfigDict

from gnl_jax.data.listing import list_images
from gnl_jax.data.load import folder_options
from gnl_jax.data.masks import read_mask
from gnl_jax.data.pixels import read_file, read_image
from gnl_jax.images.resize import Geometry, resize


class Region(NamedTuple):
    """One of the two.

    Fields:
        roi: (x, y, width, height) in the images' own pixels, for images of one size.
        mask: path of an image that is not black where parts are inspected; stretched as the images are.
    """

    roi: tuple[int, int, int, int] | None = None
    mask: str | os.PathLike | None = None


def parse_roi(text: str) -> tuple[int, int, int, int]:
    """ "x,y,w,h" -> four integers; ValueError for anything else."""
    try:
        x, y, width, height = (int(number) for number in text.split(","))
    except ValueError:
        raise ValueError(f"roi: got {text!r}, expected x,y,w,h in pixels, such as 10,20,300,200") from None
    if min(x, y) < 0 or min(width, height) < 1:
        raise ValueError(f"roi: got {text!r}, expected a corner inside the image and a width and height of 1 or more")
    return x, y, width, height


def make_region(
    region: Region,
    images: str | os.PathLike | np.ndarray | Sequence[np.ndarray],
    dataset: ConfigDict,
    *,
    names: Sequence[str] | None = None,
) -> np.ndarray:
    """Where the resized images are inspected, bool [s s]: pixels that are made of inspected source pixels alone.

    images: the good images, whose size the rectangle refers to; names: those of a folder that count, None for all.
    Raises ValueError for images of several sizes, a rectangle beyond their border, or a region that leaves nothing at
    this size.
    """
    if (region.roi is None) == (region.mask is None):
        raise ValueError("region: expected a rectangle or a mask, one of the two")
    if region.mask is not None:
        inside, what = read_mask(region.mask), os.fsdecode(region.mask)
    else:
        height, width = _common_size(images, dataset, names)
        x, y, w, h = region.roi
        if x + w > width or y + h > height:
            raise ValueError(f"roi: got {x},{y},{w},{h}, expected it within the images of {width}x{height} pixels")
        inside, what = np.zeros((height, width), bool), f"roi {x},{y},{w},{h}"
        inside[y : y + h, x : x + w] = True
    geometry = Geometry(dataset.size, dataset.resize, dataset.filter)
    white = np.repeat(255 * inside[..., None].astype(np.uint8), 3, axis=2)
    result = resize(white, geometry)[..., 0] == 255
    if not result.any():
        raise ValueError(f"{what}: nothing of it is left at {dataset.size}x{dataset.size} pixels")
    return result


def _common_size(
    images: str | os.PathLike | np.ndarray | Sequence[np.ndarray], dataset: ConfigDict, names: Sequence[str] | None
) -> tuple[int, int]:
    """(height, width) of all images. Raises ValueError naming one that differs."""
    if isinstance(images, np.ndarray):
        return images.shape[1], images.shape[2]
    if not isinstance(images, str | os.PathLike):
        sizes = [image.shape[:2] for image in images]
        for i, size in enumerate(sizes):
            if size != sizes[0]:
                raise ValueError(
                    f"roi: image {i} has {size[1]}x{size[0]} pixels and image 0 {sizes[0][1]}x{sizes[0][0]}, expected "
                    "one size; a mask is stretched as the images are"
                )
        return sizes[0]
    dataset = dataset.copy_and_resolve_references()
    dataset.root = os.fspath(images)
    options = folder_options(dataset, seed=0)
    first, name = None, ""
    for path in list_images(images) if names is None else names:
        file = os.path.join(images, path)
        shape = read_image(read_file(file), name=file, white=options.white, alpha=options.alpha).shape[:2]
        if first is None:
            first, name = shape, path
        elif shape != first:
            raise ValueError(
                f"roi: {path!r} has {shape[1]}x{shape[0]} pixels and {name!r} {first[1]}x{first[0]}, expected one "
                "size; a mask is stretched as the images are"
            )
    return first
