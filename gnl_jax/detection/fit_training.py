"""The training that is part of fitting a detector: how long, in which folder, resumed with the same images only."""

import contextlib
import os
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
from ml_collections import ConfigDict

from gnl_jax.batches import ShapedSource
from gnl_jax.config_io import load_config
from gnl_jax.data.feed import even_batch
from gnl_jax.data.protocol import Task
from gnl_jax.detection.options import FitOptions
from gnl_jax.detection.same_run import check_same_run
from gnl_jax.methods.base import Method
from gnl_jax.methods.build import build_method, system_of
from gnl_jax.nn.published import load_student
from gnl_jax.training.budget import epochs_within
from gnl_jax.training.loop import Trained, train

IMAGE_PASSES = 3200  # by default: 20 epochs, the paper's, of 160 images; half an hour at 256x256 on two CPU cores


def trained_student(
    config: ConfigDict,
    images: ShapedSource,
    names: Sequence[str],
    *,
    options: FitOptions,
    workdir: str | os.PathLike | None,
    region: Mapping[str, Any] | None,
    method: Method | None,
    say: Callable[[str], None],
) -> tuple[ConfigDict, Trained]:
    """Trains on images uint8 [n s s 3], or takes the published student of `options`.

    Returns:
        (the configuration with its number of epochs and batch size, the finished run). Arguments as for `fit`.

    Raises:
        ValueError: an option about training, with a method of one's own, whose phases say how it is trained.
    """
    if method is not None:
        _check_own(method, options)
    if options.student:
        say(f"student of {options.student}, not trained; references of matching from {len(images)} images")
        return config, _published(config, options.student)
    with _folder(workdir) as folder:
        if method is not None:
            for phase in method.phases:
                size = phase.batch_size
                say(f"training: {phase.name}, {phase.epochs} epochs of {len(images)} images, batches of {size}")
        else:
            if config.train.devices == 1:  # else each batch is divided over them as it is
                config.train.batch_size = even_batch(len(images), at_most=config.train.batch_size)
            if system_of(config).trains:
                config = _schedule(config, options, images, folder, say)
        check_same_run(folder, images, names, config, region)
        task = Task("good images", config.dataset.normal, images, {}, tuple(names))
        return config, train(config, folder, task=task, method=method)


def _check_own(method: Method, options: FitOptions) -> None:
    for name in ("epochs", "time_budget", "batch_size", "student"):
        if value := getattr(options, name):
            raise ValueError(
                f"{name}: got {value!r} with method={method.name!r}, expected none: its phases say how it is trained"
            )


def _published(config: ConfigDict, path: str) -> Trained:
    """A student of the published code as a run that is over."""
    if not system_of(config).trains:
        raise ValueError(f"student: got {path!r}, expected none: {config.method.name} has no student to load")
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


def _schedule(config: ConfigDict, options: FitOptions, images: ShapedSource, folder: Path, say) -> ConfigDict:
    """The configuration with its number of epochs; a continued run's stands. Epochs that are requested are whole."""
    if (folder / "config.json").exists():
        saved = load_config(folder).train
        config.train.epochs = options.epochs or saved.epochs
        config.train.max_steps = 0 if options.epochs else saved.max_steps
        budget = "" if options.time_budget is None else "; the time budget is that of its beginning"
        say(f"training resumes in {folder}{budget}")
    else:
        config.train.epochs = options.epochs or min(max(round(IMAGE_PASSES / len(images)), 1), 400)
        config.train.max_steps = 0 if options.epochs else config.train.max_steps
        if options.time_budget is not None:
            most, seconds = epochs_within(config, images, minutes=options.time_budget)
            say(f"an epoch takes {seconds:.0f} s here")
            if not most:
                say(f"one epoch takes longer than the time budget of {options.time_budget:g} minutes, and is trained")
            config.train.epochs = min(config.train.epochs, max(most, 1))
    limit = f", at most {config.train.max_steps} steps" if config.train.max_steps else ""
    say(
        f"training: {config.train.epochs} epochs of {len(images)} images, {config.teacher.arch} at "
        f"{config.dataset.size}x{config.dataset.size}, batches of {config.train.batch_size}{limit}"
    )
    return config
