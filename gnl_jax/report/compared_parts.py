"""The parts that methods are compared on: held-out good parts and defects, unshifted and shifted, scored by each."""

import dataclasses
import hashlib
import json
import os
import time
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from ml_collections import ConfigDict

from gnl_jax.batches import ImageSource, ShapedSource
from gnl_jax.data.folder import corruption
from gnl_jax.data.load import folder_options
from gnl_jax.data.pixels import pixel_hash, read_file, read_image
from gnl_jax.data.reading import Transform, load_images
from gnl_jax.detection.detector import Detector, predict
from gnl_jax.detection.parts import GoodImages
from gnl_jax.evaluation.choice import Scores
from gnl_jax.images.corruptions import corruption_rng
from gnl_jax.images.simulated_defects import KINDS, draw_defect
from gnl_jax.report.shift_files import Files

SHIFTS = ("gain_up", "gain_down", "contrast", "defocus_blur", "gaussian_noise")
SEVERITY = 3
PER_IMAGE = 2  # simulated defects, each in a copy of its own
HELD_MB = 512  # of all conditions' images; more are read again for every method
CALLS, WARM_UP = 15, 2  # that latency is measured with, and calls before


class Shown(NamedTuple):
    """What every method is shown.

    Attributes:
        good: images of judging parts.
        bad: images of defective parts; simulated ones have the path and the part of the good image they are drawn into.
        simulated: whether the defects are.
        families: of shifts.
        seed: of simulated defects and noise.
    """

    good: Files
    bad: Files
    simulated: bool
    families: tuple[str, ...]
    seed: int


def shown_parts(
    folder: str | os.PathLike, judging: GoodImages, bad: Files | None, *, families: Sequence[str], seed: int
) -> Shown:
    """What is shown: the judging images of a folder, and defective ones; simulated ones where `bad` is None."""
    paths = tuple(os.path.join(folder, name) for name in judging.names)
    good = Files(paths, judging.names, ("",) * len(paths), judging.parts)
    if bad is not None:
        return Shown(good, bad, False, tuple(families), seed)
    places = [i for i in range(len(paths)) for _ in range(PER_IMAGE)]
    kinds = tuple(KINDS[number % len(KINDS)] for number in range(len(places)))
    drawn = good.take(places)._replace(defects=kinds)
    names = tuple(f"{name} ({kind})" for name, kind in zip(drawn.names, kinds))
    return Shown(good, drawn._replace(names=names), True, tuple(families), seed)


class Condition(NamedTuple):
    """Good and defective images, uint8 [n s s 3] or sources of them, and the hashes of the good and defective ones."""

    good: ShapedSource
    bad: ShapedSource
    hashes: tuple[tuple[str, ...], tuple[str, ...]]


class Conditions:
    """The images of each condition as methods see them; those that are small enough are read once."""

    def __init__(self, shown: Shown):
        """Nothing is read yet."""
        self.shown = shown
        self._held: dict[str, Condition] = {}

    def load(self, dataset: ConfigDict, family: str | None) -> Condition:
        """One condition's images.

        Args:
            dataset: that group of a method's configuration: size, and how files are read.
            family: of shifts; None for the images as they are.
        """
        key = json.dumps([str(dataset[name]) for name in ("size", "resize", "filter", "white", "alpha")] + [family])
        if key not in self._held:
            self._held[key] = _load(self.shown, dataset, family)
        return self._held[key]


def _load(shown: Shown, dataset: ConfigDict, family: str | None) -> Condition:
    dataset = dataset.copy_and_resolve_references()
    dataset.root = "."
    reading = folder_options(dataset, seed=0)
    shift = None if family is None else corruption(family, severity=SEVERITY, seed=shown.seed)
    change = _drawing(shown, white=reading.white, alpha=reading.alpha, shift=shift) if shown.simulated else shift
    found = []
    for files, transform, what in ((shown.good, shift, "good"), (shown.bad, change, "defective")):
        loaded = load_images(
            files.paths,
            reading.size,
            names=files.names,
            white=reading.white,
            alpha=reading.alpha,
            transform=transform,
            cache_dir="",
            memory_mb=HELD_MB / 2 / (1 + len(shown.families)),
            look=pixel_hash,
            what=f"{family or 'unshifted'}, {what}",
        )
        found.append(loaded)
    return Condition(found[0].images, found[1].images, (found[0].report.seen, found[1].report.seen))


def _drawing(shown: Shown, *, white: float | None, alpha: Any, shift: Transform | None) -> Transform:
    """Draws an image's simulated defect at the image's own size, then shifts it."""
    good, bad = shown.good, shown.bad
    following = {path: good.paths[(i + 1) % len(good.paths)] for i, path in enumerate(good.paths)}
    known = {name: (kind, following[path]) for name, kind, path in zip(bad.names, bad.defects, bad.paths)}

    def apply(image: np.ndarray, name: str) -> np.ndarray:
        kind, path = known[name]
        other = read_image(read_file(path), name=os.fsdecode(path), white=white, alpha=alpha)
        drawn = draw_defect(corruption_rng(shown.seed, f"defect/{name}"), image, other, kind)
        return drawn if shift is None else shift.apply(drawn, name)

    return Transform(apply, "")  # no identity: nothing of it is cached


def fingerprint(value: Any) -> str:
    """A digest of JSON-able data."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()


def judge(detector: Detector, conditions: Conditions, advance=lambda n: None) -> dict[str, Any]:
    """Scores of all images under each condition, unshifted first, and the latency, as JSON-able data."""
    dataset, shown = detector.require_record().config.dataset, conditions.shown
    scores: dict[str, list[list[float]]] = {"good": [], "bad": []}
    for family in (None, *shown.families):
        images = conditions.load(dataset, family)
        for side, of_side in (("good", images.good), ("bad", images.bad)):
            scores[side].append(predict(detector, of_side, maps=False, advance=advance).score.tolist())
    return {**scores, "milliseconds": milliseconds(detector, conditions.load(dataset, None).good)}


def milliseconds(detector: Detector, images: ImageSource) -> float:
    """The median time from one image in memory to its score and map."""
    one, spent = dataclasses.replace(detector, batch_size=1), []
    for call in range(WARM_UP + CALLS):
        image = np.asarray(images[np.array([call % len(images)])])
        begun = time.perf_counter()
        predict(one, image)
        spent.append(time.perf_counter() - begun)
    return 1000 * float(np.median(spent[WARM_UP:]))


def part_scores(shown: Shown, judged: Mapping[str, Any]) -> Scores:
    """Scores of parts, each the largest of its images; a simulated defect is one image."""
    good = _places(shown.good.parts)
    bad = range(len(shown.bad.names)) if shown.simulated else _places(tuple(zip(shown.bad.defects, shown.bad.parts)))
    return Scores(_largest(judged["good"], good), _largest(judged["bad"], bad))


def drawn_from(shown: Shown) -> list[int] | None:
    """For each simulated defect the position of its good part; None for real defects."""
    if not shown.simulated:
        return None
    place = {part: i for i, part in enumerate(dict.fromkeys(shown.good.parts))}
    return [place[part] for part in shown.bad.parts]


def _places(parts: Sequence[Any]) -> list[int]:
    """The position of each image's part among the distinct ones, in order of appearance."""
    place = {part: i for i, part in enumerate(dict.fromkeys(parts))}
    return [place[part] for part in parts]


def _largest(scores: Sequence[Sequence[float]], places: Sequence[int]) -> np.ndarray:
    """Scores [c images] -> the largest of each place [c places]."""
    values = np.asarray(scores, np.float64)
    found = np.full((len(values), max(places) + 1), -np.inf)
    for row, of_condition in zip(found, values):
        np.maximum.at(row, np.asarray(places), of_condition)
    return found
