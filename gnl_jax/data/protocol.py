"""One-vs-all protocol: learn from normal images of one domain, be tested on it and on shifted domains."""

import dataclasses
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from gnl_jax.batches import ImageSource
from gnl_jax.data.pixels import pixel_hash


class LabelledImages(NamedTuple):
    """A test set in memory.

    Attributes:
        images: uint8 [n s s 3], RGB.
        anomalous: bool [n].
        masks: bool [n s s], True on the defect, or None where there are none.
        names: n names, or None.
        masked: bool [n], False where the mask of a defective image is not known; None if all are.
    """

    images: np.ndarray
    anomalous: np.ndarray
    masks: np.ndarray | None = None
    names: tuple[str, ...] | None = None
    masked: np.ndarray | None = None

    def mask(self, index: int) -> np.ndarray | None:
        """The mask of an image, bool [s s], or None where it is not known."""
        if self.masks is None or (self.masked is not None and not self.masked[index]):
            return None
        return self.masks[index]

    def pixels(self, maps: np.ndarray | None) -> tuple[np.ndarray | None, np.ndarray | None]:
        """Score maps [n s s], or None, and the masks to compare them with: those of images whose mask is known."""
        if maps is None or self.masks is None or self.masked is None:
            return maps, self.masks
        return maps[self.masked], self.masks[self.masked]


@dataclasses.dataclass(frozen=True)
class Task:
    """What to learn from, and what to be tested on.

    Attributes:
        dataset: its name, as in the configuration.
        normal: the class, category or group of classes that counts as normal.
        train: normal images only; an array uint8 [n s s 3], or any `ImageSource`.
        tests: name to loader, "id" first and then the shifts. A test set is made when it is called for.
        train_names: n names, or None.

    Raises:
        ValueError: no training images; a first test set that is not "id"; a wrong number of names.
    """

    dataset: str
    normal: str
    train: ImageSource
    tests: Mapping[str, Callable[[], LabelledImages]]
    train_names: tuple[str, ...] | None = None

    def __post_init__(self):
        if len(self.train) == 0:
            raise ValueError(f"dataset {self.dataset!r} has no training images of normal class {self.normal!r}")
        if self.tests and next(iter(self.tests)) != "id":
            raise ValueError(f"tests: got {list(self.tests)}, expected 'id' first, then the shifts")
        if self.train_names is not None and len(self.train_names) != len(self.train):
            raise ValueError(f"train_names: got {len(self.train_names)} for {len(self.train)} training images")

    def load_test(self, name: str) -> LabelledImages:
        """Makes the test set `name` and checks that it can be evaluated.

        Raises:
            ValueError: no such test set (the valid names are listed), or a bad one (`check_test`).
        """
        if name not in self.tests:
            raise ValueError(f"dataset {self.dataset!r}: no test set {name!r}, expected one of {list(self.tests)}")
        test = self.tests[name]()
        check_test(test, name=f"test set {self.dataset}/{name} of normal class {self.normal!r}")
        return test


def check_test(test: LabelledImages, *, name: str) -> None:
    """Checks that a test set is well formed and that it has normal as well as anomalous images.

    Args:
        test: any test set.
        name: of the test set, for the message.

    Raises:
        ValueError: naming the test set, what was got and what was expected.
    """
    n, shape = len(test.images), test.images.shape
    if test.images.dtype != np.uint8 or test.images.ndim != 4 or shape[3] != 3:
        raise ValueError(f"{name}: images: got {test.images.dtype} {shape}, expected uint8 [n s s 3]")
    if test.anomalous.dtype != np.bool_ or test.anomalous.shape != (n,):
        raise ValueError(f"{name}: anomalous: got {test.anomalous.dtype} {test.anomalous.shape}, expected bool {(n,)}")
    if test.masks is not None and (test.masks.dtype != np.bool_ or test.masks.shape != shape[:3]):
        raise ValueError(f"{name}: masks: got {test.masks.dtype} {test.masks.shape}, expected bool {shape[:3]}")
    if test.masked is not None and (test.masked.dtype != np.bool_ or test.masked.shape != (n,)):
        raise ValueError(f"{name}: masked: got {test.masked.dtype} {test.masked.shape}, expected bool {(n,)}")
    if test.names is not None and len(test.names) != n:
        raise ValueError(f"{name}: names: got {len(test.names)}, expected {n}")
    anomalous = int(test.anomalous.sum())
    if anomalous in (0, n):
        raise ValueError(
            f"{name}: one class missing from the test: {n - anomalous} normal, {anomalous} anomalous images"
        )


def normal_labels(
    normal: str, classes: Sequence[str], *, dataset: str, groups: Mapping[str, Collection[str]] | None = None
) -> np.ndarray:
    """The integer labels that count as normal: those of one class, or of a named group of classes.

    Args:
        normal: a member of `classes` (one-vs-all), or a key of `groups` (multi-class, such as "even").
        classes: class names; the position of a class is its label.
        dataset: named in the error.
        groups: group name to the names of its classes.

    Returns:
        int64 [k].

    Raises:
        ValueError: unknown `normal`; the valid ones are listed.
    """
    groups = groups or {}
    if normal in classes:
        return np.array([classes.index(normal)])
    if normal in groups:
        return np.array([classes.index(name) for name in groups[normal]])
    raise ValueError(f"normal: dataset {dataset!r} has no class {normal!r}, expected one of {[*classes, *groups]}")


def check_shifts(shifts: Sequence[str], valid: Sequence[str], *, dataset: str) -> None:
    """Raises `ValueError`, listing the valid names, where a dataset has no such shift."""
    unknown = [shift for shift in shifts if shift not in valid]
    if unknown:
        raise ValueError(f"shifts: dataset {dataset!r} has no {unknown}, expected some of {list(valid)}")


def one_vs_all(
    images: np.ndarray, labels: np.ndarray, normal: int | np.ndarray, *, names: Sequence[str] | None = None
) -> LabelledImages:
    """A test set in which every class but the normal ones is anomalous.

    Args:
        images: uint8 [n s s 3].
        labels: integers [n].
        normal: the normal label, or labels [k].
        names: n names, optional.
    """
    anomalous = ~np.isin(labels, normal)
    return LabelledImages(images, anomalous, names=None if names is None else tuple(names))


def limited(anomalous: np.ndarray, limit: int, *, seed: int) -> np.ndarray:
    """Positions of a random subset with normal and anomalous in proportion, at least one of each that exists.

    Args:
        anomalous: bool [n]; all False for a training set.
        limit: size of the subset; 0, or n and more, keeps everything.
        seed: of the draw.

    Returns:
        int64 [min(limit, n)], ascending.

    Raises:
        ValueError: a negative limit, or one that cannot hold one image of each class.
    """
    n, classes = len(anomalous), [np.flatnonzero(~anomalous), np.flatnonzero(anomalous)]
    present = sum(len(c) > 0 for c in classes)
    if limit < 0 or 0 < limit < present:
        raise ValueError(f"limit: got {limit}, expected 0 (all) or at least {present}")
    if limit == 0 or limit >= n:
        return np.arange(n)
    share = round(limit * len(classes[1]) / n)
    if present == 2:
        share = min(max(share, 1), limit - 1)
    rng = np.random.default_rng(seed)
    kept = [rng.permutation(c)[:k] for c, k in zip(classes, (limit - share, share), strict=True)]
    return np.sort(np.concatenate(kept))


def leak_check(train: ImageSource, test: ImageSource) -> list[tuple[int, int]]:
    """Finds test images that were trained on: equal shape and equal pixels, by SHA-256.

    Args:
        train, test: arrays uint8 [n s s 3] or image sources; read one image at a time.

    Returns:
        Every pair (train position, test position) of identical images, ordered by test, then train position.
    """
    seen: dict[str, list[int]] = {}
    for i in range(len(train)):
        seen.setdefault(_content(train, i), []).append(i)
    return [(i, j) for j in range(len(test)) for i in seen.get(_content(test, j), ())]


def _content(source: ImageSource, index: int) -> str:
    return pixel_hash(source[np.array([index])][0])
