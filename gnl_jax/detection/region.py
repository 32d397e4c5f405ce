"""What part of the picture is inspected: a rectangle or a mask. Outside it nothing counts."""

import os
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from ml_collections import ConfigDict

from gnl_jax.batches import ShapedSource
from gnl_jax.data.listing import list_images
from gnl_jax.data.load import folder_options
from gnl_jax.data.masks import read_mask
from gnl_jax.data.pixels import ImageError, read_file, read_image
from gnl_jax.data.sources import changed
from gnl_jax.detection.parts import ImagesLike
from gnl_jax.images.resize import Geometry, resize


class Region(NamedTuple):
    """A rectangle or a mask, one of the two.

    Attributes:
        roi: (x, y, width, height) in the images' own pixels, for images of one size.
        mask: path of an image that is not black where parts are inspected, of the images' size.
        relative: False: images of another size than the region was drawn on are errors, when fitting and when
            scoring. True: the region is stretched as the images are; it covers the same share of each.
    """

    roi: tuple[int, int, int, int] | None = None
    mask: str | os.PathLike | None = None
    relative: bool = False


class Placed(NamedTuple):
    """A region on the images it was drawn for.

    Attributes:
        inside: where the resized images are inspected, bool [s s]; None with windows.
        record: the region and the (height, width) it was drawn on, as a detector's manifest holds it.
    """

    inside: np.ndarray | None
    record: dict[str, Any]


def blanked(images: ShapedSource, region: np.ndarray | jax.Array | None) -> ShapedSource:
    """Images uint8 [n s s 3] as `hold_region` leaves them, read when they are asked for; all of them without a region.

    region: bool [s s], or None.
    """
    if region is None:
        return images
    from gnl_jax.methods.scoring import hold_region  # with the networks: a detector from a file does without

    held = jnp.asarray(region)
    return changed(images, lambda some: np.asarray(hold_region(jnp.asarray(some), held)))


def parse_roi(text: str) -> tuple[int, int, int, int]:
    """The four integers of "x,y,w,h"; ValueError for anything else."""
    try:
        x, y, width, height = (int(number) for number in text.split(","))
    except ValueError:
        raise ValueError(f"roi: got {text!r}, expected x,y,w,h in pixels, such as 10,20,300,200") from None
    if min(x, y) < 0 or min(width, height) < 1:
        raise ValueError(f"roi: got {text!r}, expected a corner inside the image and a width and height of 1 or more")
    return x, y, width, height


def place_region(
    region: Region,
    images: ImagesLike,
    dataset: ConfigDict,
    *,
    names: Sequence[str] | None = None,
    windows: bool = False,
) -> Placed:
    """Puts a region on the images; inside are the resized pixels that are made of inspected source pixels alone.

    Args:
        region: a rectangle or a mask.
        images: the good images, whose size the region refers to: a folder, or arrays uint8 [h w 3].
        dataset: that group of a configuration: size, and how files are read.
        names: those of a folder that count, None for all.
        windows: the region is covered by windows at full resolution: nothing of the whole image is resized, and
            `inside` is None.

    Raises:
        ValueError: images of several sizes, a mask of another size (unless it is relative), a rectangle beyond their
            border, or a region that leaves nothing at this size.
    """
    if region.mask is not None and region.roi is None:
        inside, what = read_mask(region.mask), os.fsdecode(region.mask)
        drawn = inside.shape
        if not region.relative and (size := _common_size(images, dataset, names, what="mask")) != drawn:
            raise ValueError(
                f"mask: {what} has {_pixels(drawn)} pixels and the images {_pixels(size)}, expected one size; a "
                "relative region is stretched as the images are"
            )
    elif region.roi is not None and region.mask is None:
        drawn = height, width = _common_size(images, dataset, names, what="roi")
        x, y, w, h = region.roi
        if x + w > width or y + h > height:
            raise ValueError(f"roi: got {x},{y},{w},{h}, expected it within the images of {width}x{height} pixels")
        inside, what = np.zeros((height, width), bool), f"roi {x},{y},{w},{h}"
        inside[y : y + h, x : x + w] = True
    else:
        raise ValueError("region: expected a rectangle or a mask, one of the two")
    drawn_as = {"roi": region.roi and str(region.roi), "mask": region.mask and os.fsdecode(region.mask)}
    record = {**drawn_as, "size": list(drawn), "relative": region.relative}
    if windows:
        return Placed(None, record)
    geometry = Geometry(dataset.size, dataset.resize, dataset.filter)
    white = np.repeat(255 * inside[..., None].astype(np.uint8), 3, axis=2)
    result = resize(white, geometry)[..., 0] == 255
    if not result.any():
        raise ValueError(f"{what}: nothing of it is left at {dataset.size}x{dataset.size} pixels")
    return Placed(result, record)


def check_frame_size(record: Mapping[str, Any] | None, size: tuple[int, int], *, name: str) -> None:
    """ImageError for an image of another (height, width) than the region of a manifest was drawn on.

    A relative region, and one of a file that does not say its size, allow every size.
    """
    known: Mapping[str, Any] = record or {}
    drawn = tuple(known.get("size", ()))
    if drawn and not known["relative"] and drawn != size:
        raise ImageError(
            f"{name}: got {_pixels(size)} pixels, expected {_pixels(drawn)}: the region that is "
            "inspected was drawn on images of that size"
        )


def _pixels(size: tuple[int, int]) -> str:
    return f"{size[1]}x{size[0]}"


def _common_size(images: ImagesLike, dataset: ConfigDict, names: Sequence[str] | None, *, what: str) -> tuple[int, int]:
    """(height, width) of all images. Raises ValueError naming one that differs."""
    if isinstance(images, np.ndarray):
        return images.shape[1], images.shape[2]
    if not isinstance(images, str | os.PathLike):
        sizes = [image.shape[:2] for image in images]
        for i, size in enumerate(sizes):
            if size != sizes[0]:
                raise ValueError(
                    f"{what}: image {i} has {_pixels(size)} pixels and image 0 {_pixels(sizes[0])}, expected one "
                    "size; a relative mask is stretched as the images are"
                )
        return sizes[0]
    dataset = dataset.copy_and_resolve_references()
    dataset.root = os.fspath(images)
    options = folder_options(dataset, seed=0)

    def size_of(path: str) -> tuple[int, int]:
        file = os.path.join(images, path)
        return read_image(read_file(file), name=file, white=options.white, alpha=options.alpha).shape[:2]

    name, *others = list_images(images) if names is None else names
    first = size_of(name)
    for path in others:
        if (size := size_of(path)) != first:
            raise ValueError(
                f"{what}: {path!r} has {_pixels(size)} pixels and {name!r} {_pixels(first)}, expected one size; a "
                "relative mask is stretched as the images are"
            )
    return first
