"""From good images to a detector that decides: divide, train, calibrate."""

import contextlib
import dataclasses
import os
import tempfile
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path

import jax
import numpy as np
from absl import logging
from ml_collections import ConfigDict

from gnl_jax.config import default_config, set_method
from gnl_jax.config_io import load_config, plain_config
from gnl_jax.data.feed import even_batch
from gnl_jax.data.protocol import Task
from gnl_jax.detection.artifact import build_detector
from gnl_jax.detection.calibrate import calibrated, one_matching, provenance, scoring_variables
from gnl_jax.detection.detector import Detector
from gnl_jax.detection.parts import GoodImages, calibration_parts, good_images, split_parts
from gnl_jax.detection.record import Record, rule_record
from gnl_jax.detection.region import Region, place_region
from gnl_jax.detection.same_run import check_same_run
from gnl_jax.detection.threshold import (
    Rule,
    Rules,
    check_confidence,
    check_order,
    make_drift_rule,
    make_rules,
    parts_needed,
)
from gnl_jax.methods.build import build_method
from gnl_jax.methods.choices import check_fields
from gnl_jax.methods.scoring import hold_region
from gnl_jax.nn.pretrained import resolve_source
from gnl_jax.nn.published import load_student
from gnl_jax.training.budget import epochs_within
from gnl_jax.training.loop import Trained, train

IMAGE_PASSES = 3200  # by default: 20 epochs, the paper's, of 160 images; half an hour at 256x256 on two CPU cores


@dataclasses.dataclass(frozen=True)
class FitOptions:
    """What is asked of a detector beside its configuration.

    Fields:
        ng, review: false-alarm rates at which good parts may be rejected and stopped for review; None for the
            defaults of `make_rules`.
        drift: rate at which drift alone may send a good part to review, on top of `review`; None: 1 % or 2 % where
            the calibration supports it, else never.
        confidence: None where the rates hold on average over calibrations; else with this probability for this one.
        calibration: number of parts that calibrate; None for `calibration_parts`.
        group_by, exclude: as for `good_images`.
        region: what is inspected (`place_region`); None for all.
        epochs: of training; 0 for about `IMAGE_PASSES` images in all.
        time_budget: minutes that training may take, after a measurement of its first steps; None for no limit.
        student: a checkpoint of the published code (`load_student`), which is taken instead of training.
    """

    ng: Fraction | None = None
    review: Fraction | None = None
    drift: Fraction | None = None
    confidence: float | None = None
    calibration: int | None = None
    group_by: str = ""
    exclude: tuple[str, ...] = ()
    region: Region | None = None
    epochs: int = 0
    time_budget: float | None = None
    student: str = ""


def inspection_config() -> ConfigDict:
    """GNL for good images of one product: 256x256, matched to the barycentre of all images it was fitted to.

    ResNet-18 on a CPU, Wide ResNet-50-2 elsewhere. On a CPU images are scored one at a time, which is as fast, so that
    a score never depends on how many are asked for.
    """
    config = default_config()
    on_cpu = jax.default_backend() == "cpu"
    config.dataset.name = "folder"
    config.dataset.normal = ""
    config.dataset.size = 256
    config.dataset.shifts = ()
    config.teacher.arch = "resnet18" if on_cpu else "wide_resnet50_2"
    config.train.feature_budget_mb = 2048.0  # clean and grey views never change: the teacher sees them once
    config.eval.anchor = "barycentre"  # no single image's style, and no image ships
    config.eval.batch_size = 1 if on_cpu else 16
    return set_method(config, "gnl", like="mvtec")


def fit(
    images: str | os.PathLike | np.ndarray,
    config: ConfigDict | None = None,
    *,
    options: FitOptions = FitOptions(),
    workdir: str | os.PathLike | None = None,
    say: Callable[[str], None] = logging.info,
) -> Detector:
    """A detector from images of good parts: trained on some of them, its false-alarm rate calibrated on the others.

    Args:
        images: a folder of good images, or an array uint8 [n s s 3] with s = config.dataset.size.
        config: `inspection_config()` if left out; reverse distillation only.
        options: rates, groups, region, time.
        workdir: where training keeps its checkpoints; the same call goes on there. None: nothing is kept.
        say: is told what was chosen, one sentence at a time.

    Raises:
        ValueError: too few images, a rate they cannot support (RateError), missing teacher weights, a field or file
            that cannot be used; before anything is trained.
    """
    config = (config or inspection_config()).copy_and_resolve_references()
    _check_config(config)
    good = good_images(images, config.dataset, group_by=options.group_by, exclude=options.exclude)
    placed = options.region and place_region(options.region, images, config.dataset, names=good.names)
    region = placed and placed.inside
    fitting, calibrating, rules, drift_rule = divide(good, options, seed=config.seed, say=say)
    train_images = fitting.images if region is None else np.asarray(hold_region(fitting.images, region))
    if options.student:
        say(f"student of {options.student}, not trained; references of matching from {len(train_images)} images")
        trained = _published(config, options.student)
    else:
        with _folder(workdir) as folder:
            if config.train.devices == 1:  # else each batch is divided over them as it is
                config.train.batch_size = even_batch(len(train_images), at_most=config.train.batch_size)
            config = _schedule(config, options, train_images, folder, say)
            check_same_run(folder, train_images, fitting.names, config, placed and placed.record)
            task = Task("good images", config.dataset.normal, train_images, {}, fitting.names)
            trained = train(config, folder, task=task)
    networks, matchings = scoring_variables(config, trained, train_images, region)
    manifest = {
        "config": plain_config(config),
        "matching": one_matching(config),
        "batch_size": config.eval.batch_size,
        "image": {
            name: plain_config(config)["dataset"][name] for name in ("size", "resize", "filter", "white", "alpha")
        },
        "rules": {"ng": rule_record(rules.ng), "review": rule_record(rules.review), "drift": rule_record(drift_rule)},
        "data": {
            "fit": list(fitting.hashes),
            "calibration": list(calibrating.hashes),
            "group_by": options.group_by,
            "student": options.student,
            "region": placed and placed.record,
            "excluded": [os.fspath(name) for name in options.exclude],
        },
        "made": provenance() | {"steps": trained.steps},
        "parent": None,
    }
    record = Record(manifest, matchings, {})
    return calibrated(build_detector(networks, record), calibrating)


def divide(
    good: GoodImages, options: FitOptions, *, seed: int, say: Callable[[str], None]
) -> tuple[GoodImages, GoodImages, Rules, Rule | None]:
    """(images that train, images that calibrate, rules, drift rule); RateError, before training, where n is small."""
    check_confidence(options.confidence)
    check_order(options.ng, options.review)
    n = len(set(good.parts))
    asked = [rate for rate in (options.ng, options.review, options.drift) if rate is not None]
    needed = max((parts_needed(rate, confidence=options.confidence) for rate in asked), default=0)
    count = calibration_parts(n, wanted=options.calibration, needed=needed, confidence=options.confidence)
    rules, notes = make_rules(count, ng=options.ng, review=options.review, confidence=options.confidence)
    drift_rule, drift_note = make_drift_rule(count, rate=options.drift, confidence=options.confidence)
    fitting, calibrating = map(good.take, split_parts(good.parts, count, seed=seed))
    parts = "" if n == len(good.parts) else f" of {n} parts"
    counts = f"{len(fitting.names)} to learn from, {len(calibrating.names)} to calibrate"
    say(f"{len(good.names)} good images{parts}: {counts}")
    for name, rule in (("NG", rules.ng), ("REVIEW", rules.review)):
        if rule:
            say(f"{name}: good parts stopped {rule.describe()}")
    for note in (*notes, drift_note):
        say(note)
    return fitting, calibrating, rules, drift_rule


def _check_config(config: ConfigDict) -> None:
    """Everything that can be wrong with it, the teacher's weights included, before an image is read."""
    check_fields(config)
    if config.method.system != "reverse_distillation":
        raise ValueError(f"method.system: got {config.method.system!r}, expected 'reverse_distillation'")
    if config.dataset.size % 32:
        raise ValueError(f"dataset.size: got {config.dataset.size}, expected a multiple of 32")
    source = resolve_source(config.teacher.weights)
    if source not in ("imagenet", "random") and not Path(source).expanduser().is_file():
        raise ValueError(f"teacher weights {source!r}: no such file")


def _published(config: ConfigDict, path: str) -> Trained:
    """A student of the published code as a run that is over."""
    method = build_method(config)
    shapes = jax.eval_shape(lambda: method.phases[0].init(jax.random.key(0), None, None))
    student = load_student(config.teacher.arch, path)
    state = shapes._replace(params=student["params"], batch_stats=student["batch_stats"])
    return Trained(method, state, 0)


@contextlib.contextmanager
def _folder(workdir: str | os.PathLike | None) -> Iterator[Path]:
    if workdir is not None:
        yield Path(workdir)
        return
    with tempfile.TemporaryDirectory(prefix="gnl_jax_") as folder:
        yield Path(folder)


def _schedule(config: ConfigDict, options: FitOptions, images: np.ndarray, folder: Path, say) -> ConfigDict:
    """The configuration with its number of epochs; that of a run which is continued stands."""
    if (folder / "config.json").exists():
        saved = load_config(folder).train.epochs
        config.train.epochs = options.epochs or saved
        budget = "" if options.time_budget is None else "; the time budget is that of its beginning"
        say(f"going on with the training in {folder}{budget}")
    else:
        config.train.epochs = options.epochs or min(max(round(IMAGE_PASSES / len(images)), 1), 400)
        if options.time_budget is not None:
            most, seconds = epochs_within(config, images, minutes=options.time_budget)
            say(f"an epoch takes {seconds:.0f} s here")
            if not most:
                say(f"one epoch takes longer than the time budget of {options.time_budget:g} minutes, and is trained")
            config.train.epochs = min(config.train.epochs, max(most, 1))
    say(
        f"training: {config.train.epochs} epochs of {len(images)} images, {config.teacher.arch} at "
        f"{config.dataset.size}x{config.dataset.size}, batches of {config.train.batch_size}"
    )
    return config
