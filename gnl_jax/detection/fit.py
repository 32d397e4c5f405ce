"""From good images to a detector that decides: divide, train, calibrate."""

import os
from collections.abc import Callable
from pathlib import Path

import jax
from absl import logging
from ml_collections import ConfigDict

from gnl_jax.config_io import plain_config
from gnl_jax.detection.artifact import build_detector
from gnl_jax.detection.calibrate import calibrated, matching_methods, provenance, scoring_variables
from gnl_jax.detection.detector import Detector
from gnl_jax.detection.fit_memory import GB, planned
from gnl_jax.detection.fit_training import trained_student
from gnl_jax.detection.near_copies import warn_of_near_copies
from gnl_jax.detection.options import FitOptions, inspection_config
from gnl_jax.detection.parts import (
    LEAST_CALIBRATION,
    LEAST_FIT,
    GoodImages,
    ImagesLike,
    calibration_parts,
    good_images,
    split_parts,
)
from gnl_jax.detection.record import Record, rule_record
from gnl_jax.detection.region import place_region
from gnl_jax.detection.threshold import (
    Rule,
    Rules,
    check_confidence,
    check_order,
    make_drift_rule,
    make_rules,
    parts_needed,
)
from gnl_jax.detection.windowed import of_windows, place_grid, squares_to_learn
from gnl_jax.detection.windows import grid_record
from gnl_jax.methods.bank_options import MAPPED
from gnl_jax.methods.base import Method
from gnl_jax.methods.build import SYSTEMS, check_teacher, matmul_precision, system_of
from gnl_jax.methods.choices import check_fields
from gnl_jax.methods.free_memory import granted
from gnl_jax.nn.pretrained import SOURCES, resolve_source


def fit(
    images: ImagesLike,
    config: ConfigDict | None = None,
    *,
    size: int | None = None,
    options: FitOptions = FitOptions(),
    workdir: str | os.PathLike | None = None,
    method: Method | None = None,
    say: Callable[[str], None] = logging.info,
) -> Detector:
    """A detector from images of good parts: trained on some of them, its false-alarm rate calibrated on the others.

    Args:
        images: a folder of good images, an array uint8 [n h w 3], or a list of arrays uint8 [h w 3] of any sizes (RGB);
            resized to squares as `good_images` says, or cut into windows as `options` say.
        config: `inspection_config()` if left out.
        size: side of the squares that the networks see, in pixels, a multiple of 32 (of 14 with DINOv2); None for
            config.dataset.size (256 in `inspection_config`).
        options: everything else people set: rates (ng, review, drift), confidence, number of calibration parts,
            group_by, exclude, region, epochs, time_budget, batch_size, memory (`FitOptions`).
        workdir: where training keeps its checkpoints; the same call resumes there. None: nothing is kept.
        method: one of your own instead of the configuration's; `gnl_jax.load` needs it too.
        say: is told what was chosen, one sentence at a time.

    Raises:
        ValueError: too few images, a rate they cannot support (RateError), missing teacher weights, a field or file
            that cannot be used, too little memory; before anything is trained.

    A method that trains nothing, such as a memory bank, takes 1 to 17 images too: it learns from all of them, and its
    detector ranks images without deciding on them (`Record.with_threshold`).
    """
    config = (config or inspection_config()).copy_and_resolve_references()
    if size is not None:
        config.dataset.size = size
    _check_config(config, own_method=method is not None)
    grid = place_grid(images, config.dataset, options)
    native = grid and grid.native
    good = good_images(images, config.dataset, group_by=options.group_by, exclude=options.exclude, native=native)
    windows = grid is not None
    placed = options.region and place_region(options.region, images, config.dataset, names=good.names, windows=windows)
    region = placed and placed.inside
    if grid is not None:
        say(f"each image in {grid.describe()}")
    trains = bool(method.phases) if method is not None else system_of(config).trains
    fitting, calibrating, rules, drift_rule = divide(good, options, seed=config.seed, say=say, trains=trains)
    warn_of_near_copies(fitting, calibrating, say=say)
    learned = squares_to_learn(fitting, grid, region)
    config = planned(config, len(learned.images), options=options, workdir=workdir, method=method, say=say)
    config, trained = trained_student(
        config,
        learned.images,
        of_windows(fitting.names, grid),
        options=options,
        workdir=workdir,
        region=placed and placed.record,
        method=method,
        say=say,
    )
    precision = matmul_precision(config)
    methods = matching_methods(config, trained.method, own_method=method is not None)
    with granted(None if options.memory is None else options.memory * GB):
        shared, matchings = scoring_variables(methods, trained.state, learned, precision=precision)
    if region is not None:
        shared["region"] = jax.numpy.asarray(region)
    manifest = {
        "config": plain_config(config),
        "matching": next(iter(methods)),
        "batch_size": config.eval.batch_size,
        "image": {
            name: plain_config(config)["dataset"][name] for name in ("size", "resize", "filter", "white", "alpha")
        }
        | ({"windows": grid_record(grid)} if grid else {}),
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
    if method is not None:
        manifest["method"] = method.name
    record = Record(manifest, matchings, {})
    return calibrated(build_detector(shared, record, method=method), calibrating)


def divide(
    good: GoodImages, options: FitOptions, *, seed: int, say: Callable[[str], None], trains: bool = True
) -> tuple[GoodImages, GoodImages, Rules, Rule | None]:
    """(images that train, images that calibrate, rules, drift rule); RateError, before training, where n is small.

    If the parts are too few for both, nothing is trained and no rate is requested, all train and none calibrates.
    """
    check_confidence(options.confidence)
    rates = options.rates
    check_order(rates.ng, rates.review)
    n = len(set(good.parts))
    if not trains and n < LEAST_FIT + LEAST_CALIBRATION and not requests_rate(options):
        of_parts = "" if n == len(good.parts) else f" of {n} parts"
        say(
            f"all {len(good.names)} images are learned from: no rate can be guaranteed from {len(good.names)} images"
            f"{of_parts}; that takes {LEAST_FIT + LEAST_CALIBRATION} parts. Images are ranked, and nothing is decided "
            "without a threshold of yours (gnl-jax score --threshold)"
        )
        return good, good.take([]), Rules(None, None), None
    asked = [rate for rate in rates if rate is not None]
    needed = max((parts_needed(rate, confidence=options.confidence) for rate in asked), default=0)
    count = calibration_parts(n, wanted=options.calibration, needed=needed, confidence=options.confidence)
    rules, notes = make_rules(count, ng=rates.ng, review=rates.review, confidence=options.confidence)
    drift_rule, drift_note = make_drift_rule(count, rate=rates.drift, confidence=options.confidence)
    fitting, calibrating = map(good.take, split_parts(good.parts, count, seed=seed))
    parts = "" if n == len(good.parts) else f" of {n} parts"
    counts = f"{len(fitting.names)} to learn from, {len(calibrating.names)} to calibrate"
    say(f"{len(good.names)} good images{parts}: {counts}")
    for name, rule in (("NG", rules.ng), ("REVIEW", rules.review)):
        if rule:
            say(f"{name}: false alarms {rule.describe()}")
    for note in (*notes, drift_note):
        say(note)
    return fitting, calibrating, rules, drift_rule


def requests_rate(options: FitOptions) -> bool:
    """Whether anything is requested that takes calibration images."""
    return any(value is not None for value in (options.ng, options.review, options.drift, options.calibration))


def _check_config(config: ConfigDict, *, own_method: bool) -> None:
    """Checks everything in it before an image is read, and writes into it where the teacher's weights come from."""
    check_fields(config)
    if own_method:
        return
    if not system_of(config).decides:
        able = ", ".join(name for name, system in SYSTEMS.items() if system.decides)
        raise ValueError(f"method.system: got {config.method.system!r}, expected one of {able}")
    if system_of(config).group == "memory_bank" and config.method.memory_bank.embedding not in MAPPED:
        raise ValueError(
            f"method.memory_bank.embedding: got {config.method.memory_bank.embedding!r}, expected 'patches' or 'tokens'"
            ": a detector shows where a defect is, and a bank of whole images has no score maps"
        )
    check_teacher(config)
    source = config.teacher.weights = resolve_source(config.teacher.weights, config.teacher.arch)
    if source not in SOURCES and not Path(source).expanduser().is_file():
        raise ValueError(f"teacher weights {source!r}: no such file")
