"""Embedded real data: scikit-learn's 1,797 handwritten digits and shifted copies of them; no download."""

import functools
from collections.abc import Sequence

import numpy as np

from gnl_jax.data.protocol import LabelledImages, Task, check_shifts, limited, normal_labels, one_vs_all
from gnl_jax.images.corruptions import CORRUPTIONS, corrupt, corruption_rng
from gnl_jax.images.resize import Geometry, resize

CLASSES = tuple("0123456789")
GROUPS = {"even": tuple("02468"), "odd": tuple("13579")}  # multi-class, as the paper does with MNIST
SHIFTS = ("photo", *CORRUPTIONS)
NATIVE = 32  # pixels; digits are shifted at this size, whatever the size they are then resized to


def digits_task(
    normal: str,
    *,
    size: int | Geometry = NATIVE,
    shifts: Sequence[str] = ("photo", "brightness", "contrast", "defocus_blur", "gaussian_noise"),
    severity: int = 3,
    seed: int = 0,
    limit_train: int = 0,
    limit_test: int = 0,
) -> Task:
    """One digit (or "even", or "odd") is normal; every fifth image of each class, in stored order, is test.

    The test set "id" and its shifts hold the same digits in the same order.

    Args:
        normal: "0" to "9", "even" or "odd".
        size: side of the images in pixels, or their geometry.
        shifts: of the test set; members of `SHIFTS`.
        severity: of the corruptions, 1 to 5.
        seed: of the shifts and of the subsets.
        limit_train, limit_test: sizes of random subsets; 0 for all.

    Raises:
        ValueError: unknown `normal` or shift (the valid ones are listed).
    """
    check_shifts(shifts, SHIFTS, dataset="digits")
    images, labels = digit_images()
    normals = normal_labels(normal, CLASSES, groups=GROUPS, dataset="digits")
    test = np.flatnonzero(is_test(labels))
    test = test[limited(~np.isin(labels[test], normals), limit_test, seed=seed)]
    train = np.flatnonzero(np.isin(labels, normals) & ~is_test(labels))
    train = train[limited(np.zeros(len(train), bool), limit_train, seed=seed)]

    def load(shift: str) -> LabelledImages:
        shifted = (shift_digit(images[i], i, shift, severity=severity, seed=seed) for i in test)
        resized = np.stack([resize(image, size) for image in shifted])
        return one_vs_all(resized, labels[test], normals, names=[digit_name(i) for i in test])

    return Task(
        dataset="digits",
        normal=normal,
        train=np.stack([resize(images[i], size) for i in train]),
        tests={shift: functools.partial(load, shift) for shift in ("id", *shifts)},
        train_names=tuple(digit_name(i) for i in train),
    )


@functools.cache
def digit_images() -> tuple[np.ndarray, np.ndarray]:
    """The digits as RGB images, in scikit-learn's order.

    The data has 8x8 pixels of 0..16. A value v becomes floor((255 v + 8) / 16), which is 255 v / 16 rounded
    half up; the image is resized to 32x32 and repeated to three channels.

    Returns:
        (uint8 [1797 32 32 3], int64 [1797]); read-only.
    """
    from sklearn.datasets import load_digits

    data = load_digits()
    grey = ((data.images.astype(np.int64) * 255 + 8) // 16).astype(np.uint8)
    images = np.stack([resize(image, NATIVE) for image in np.repeat(grey[..., None], 3, axis=3)])
    labels = data.target.astype(np.int64)
    for array in (images, labels):
        array.flags.writeable = False
    return images, labels


def is_test(labels: np.ndarray) -> np.ndarray:
    """Marks every fifth image of each class, the first included; bool [n] from integers [n]."""
    rank = np.empty(len(labels), np.int64)
    for label in np.unique(labels):
        (members,) = np.nonzero(labels == label)
        rank[members] = np.arange(len(members))
    return rank % 5 == 0


def digit_name(index: int) -> str:
    """The name of a digit; with the seed it decides the digit's noise."""
    return f"digits/{index:05d}"


def shift_digit(image: np.ndarray, index: int, shift: str, *, severity: int, seed: int) -> np.ndarray:
    """One shifted digit.

    Args:
        image: uint8 [32 32 3].
        index: its position in the data.
        shift: "id" (unchanged) or a member of `SHIFTS`.
        severity: of a corruption, 1 to 5.
        seed: of everything random in it.

    Returns:
        uint8 [32 32 3].
    """
    if shift == "id":
        return image
    if shift == "photo":
        return on_photo(image, np.random.default_rng([seed, index]))
    return corrupt(corruption_rng(seed, digit_name(index)), image, shift, severity)


def on_photo(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """|patch - image| per pixel and channel, the MNIST-M rule, with a random patch of a random photograph.

    Published code: the patch comes from a photograph of BSDS500; here, from one of the two in scikit-learn.

    Args:
        image: uint8 [h w 3].
        rng: draws the photograph, then the upper, then the left border of the patch.

    Returns:
        uint8 [h w 3].
    """
    photo = _photographs()[rng.integers(len(_photographs()))]
    h, w, _ = image.shape
    top, left = rng.integers(photo.shape[0] - h), rng.integers(photo.shape[1] - w)
    patch = photo[top : top + h, left : left + w]
    return np.abs(patch.astype(np.int16) - image).astype(np.uint8)


@functools.cache
def _photographs() -> tuple[np.ndarray, ...]:
    from sklearn.datasets import load_sample_images

    return tuple(load_sample_images().images)  # two, uint8 [427 640 3]
