"""How much memory a fit takes, and the batch that fits: decided from shapes before anything is trained or built."""

import dataclasses
import functools
import math
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from ml_collections import ConfigDict

from gnl_jax.config_io import load_config
from gnl_jax.data.feed import even_batch
from gnl_jax.detection.options import FitOptions
from gnl_jax.detection.parts import KEPT_MB
from gnl_jax.methods.base import Method, Phase
from gnl_jax.methods.build import build_method, matmul_precision
from gnl_jax.methods.free_memory import free_bytes
from gnl_jax.methods.program_memory import tree_bytes
from gnl_jax.nn.teachers import TEACHERS
from gnl_jax.training.dispatch import steps_per_dispatch
from gnl_jax.training.memory import run_bytes

PyTree = Any
MB, GB = 2**20, 10**9
SHARE = 0.9  # of the free memory that may be planned for
# Bytes that the compiler and what it makes take on a CPU, beside all arrays (measured): with training, and for a bank.
LIBRARIES, BANK_LIBRARIES = 8e8, 4e8
# How much more a compiled step takes than `program_bytes` counts (measured at 256, 512 and 1024 pixels on a CPU).
COMPILED = 1.2
# Bounds on what training takes, for a pixel of an image: of a batch (wide_resnet50_2 takes half), and kept features.
PIXEL, FEATURES, STATES = 64_000, 300, 60  # the last: of the teacher's bytes, for the student's and its optimiser's


class Need(NamedTuple):
    """Bytes that a fit takes: whatever the batch, and for its batch; and whether it is known to be less."""

    fixed: float
    batch: float
    at_most: bool = False

    @property
    def all(self) -> float:
        """Bytes in all."""
        return self.fixed + self.batch


def planned(
    config: ConfigDict,
    images: int,
    *,
    options: FitOptions,
    workdir: str | os.PathLike | None,
    method: Method | None,
    say: Callable[[str], None],
) -> ConfigDict:
    """The configuration with a batch that fits into what is free; says what the fit takes.

    Of what a method of one's own takes, only memory banks are known.

    Args:
        config: a copy of it is changed.
        images: how many are learned from.
        options: `batch_size` and `memory` overrule.
        workdir: a training that is resumed there keeps its batches.
        method: one of the user's own, whose phases say how large their batches are.
        say: is told.

    Raises:
        ValueError: what cannot fit; the largest size or batch that would is named.
    """
    config = config.copy_and_resolve_references()
    free = free_bytes()
    available = SHARE * (math.inf if free is None else free) if options.memory is None else options.memory * GB
    if options.batch_size is not None:
        config.train.batch_size = config.method.memory_bank.batch_size = options.batch_size
    chosen = without_weights(config) if method is None else method
    if options.student or (chosen.phases and method is not None):
        return config
    notes: list[str] = []
    saved = workdir if workdir is not None and (Path(workdir) / "config.json").exists() else None
    with jax.default_matmul_precision(matmul_precision(config)):
        if chosen.phases:
            requested, note = options.batch_size, notes.append
            need = _training(config, images, saved=saved, requested=requested, available=available, say=note)
        else:
            need = fit_need(config, chosen, images)
        if need.all > available and (saved is None or not chosen.phases):
            raise ValueError(_refusal(config, chosen, need, images, own=method, available=available, options=options))
    limit = f"{available / GB:.1f} GB may be taken" if math.isfinite(available) else "what is free is not known"
    takes = "less than" if need.at_most else "about"
    say("; ".join([f"memory: this takes {takes} {need.all / GB:.1f} GB", limit, *notes]))
    return config


def without_weights(config: ConfigDict) -> Method:
    """The configuration's method with a teacher of zeros: shapes are all that counts here."""
    return build_method(config, frozen=_zeros(config.teacher.arch))


@functools.cache
def _zeros(arch: str) -> PyTree:
    """Variables of a teacher; zeros that are never written to take no memory."""
    shapes = jax.eval_shape(TEACHERS[arch].init, jax.random.key(0))
    return jax.tree.map(lambda leaf: np.zeros(leaf.shape, leaf.dtype), shapes)


def _training(
    config: ConfigDict,
    images: int,
    *,
    saved: str | os.PathLike | None,
    requested: int | None,
    available: float,
    say: Callable[[str], None],
) -> Need:
    """The need of training in the largest batches that fit, or those of a `saved` run; `config` has them then."""

    def need() -> Need:
        return fit_need(config, without_weights(config), images)

    if saved is not None:
        begun = load_config(saved).train
        config.train.feature_budget_mb = begun.feature_budget_mb
        config.train.batch_size = even_batch(images, at_most=requested) if requested else begun.batch_size
        rough = _rough(config, images)
        return rough if _certain(rough, config, available) else need()
    if config.train.devices == 1:  # else each batch is divided over them as it is
        config.train.batch_size = even_batch(images, at_most=config.train.batch_size)
    if _certain(rough := _rough(config, images), config, available):
        return rough
    method = without_weights(config)
    if method.finish_bytes is not None:  # a bank beside the student, which smaller batches do not help
        bank = fit_need(config, dataclasses.replace(method, phases=()), images)
        if bank.all > available:
            return bank
    found, wanted = need(), config.train.batch_size
    if found.all > available and config.train.feature_budget_mb:
        config.train.feature_budget_mb = 0.0
        found = need()
        say("features are computed in every step, to fit, not once")
    least = max(phase.min_valid for phase in without_weights(config).phases)
    while found.all > available and config.train.batch_size > least and config.train.devices == 1:
        batch = config.train.batch_size
        fits = int((available - found.fixed) / found.batch * batch)
        config.train.batch_size = even_batch(images, at_most=max(least, min(fits, batch - 1)))
        found = need()
    if config.train.batch_size < wanted:
        say(f"batches of {config.train.batch_size} images, to fit, not {wanted}")
    return found


def _rough(config: ConfigDict, images: int) -> Need:
    """More than training takes, without a look at its program, which takes seconds."""
    of_image, teacher = config.dataset.size**2, tree_bytes(without_weights(config).frozen)
    kept = min(FEATURES * images * of_image, MB * config.train.feature_budget_mb) + 9 * images * of_image
    return Need(LIBRARIES + STATES * teacher + kept, PIXEL * of_image * config.train.batch_size, at_most=True)


def _certain(rough: Need, config: ConfigDict, available: float) -> bool:
    """Whether it is sure to fit; what builds a bank beside training is looked at."""
    return rough.all <= available and without_weights(config).finish_bytes is None


def fit_need(config: ConfigDict, method: Method, images: int) -> Need:
    """What a fit takes beside the process as it is: libraries, images, teacher, and training or building a bank.

    Args:
        config: how the method is trained.
        method: what is fitted.
        images: how many are learned from.
    """
    size = config.dataset.size
    held = images * size**2 * 3
    libraries = LIBRARIES if method.phases else BANK_LIBRARIES
    fixed = libraries + tree_bytes(method.frozen) + (2 * held if held <= KEPT_MB * MB else 0)
    fed = held if held <= config.train.device_budget_mb * MB else 0
    needs = [_phase_need(config, method, phase, images) for phase in method.phases]
    if method.finish_bytes is not None:
        needs.append(Need(0, method.finish_bytes(images, size)))
    largest = max(needs, key=lambda need: need.all, default=Need(0, 0))
    return Need(fixed + (fed if method.phases else 0) + largest.fixed, largest.batch)


def _phase_need(config: ConfigDict, method: Method, phase: Phase, images: int) -> Need:
    size, features, kept = config.dataset.size, None, 0.0
    if phase.precompute is not None and config.train.feature_budget_mb:
        batch = jax.ShapeDtypeStruct((phase.batch_size, size, size, 3), jnp.uint8)
        shapes = jax.eval_shape(phase.precompute, method.frozen, batch)
        kept = tree_bytes(shapes) / phase.batch_size * images
        features = shapes if kept <= config.train.feature_budget_mb * MB else None
    group = steps_per_dispatch(config.train.steps_per_dispatch)
    state = tree_bytes(jax.eval_shape(lambda: phase.init(jax.random.key(0), None, None)))
    step = run_bytes(phase, method.frozen, size=size, group=group, features=features)
    # The state is there twice while a checkpoint is written.
    return Need(2 * state + (kept if features is not None else 0), COMPILED * (step - state))


def _refusal(
    config: ConfigDict,
    method: Method,
    need: Need,
    images: int,
    *,
    own: Method | None,
    available: float,
    options: FitOptions,
) -> str:
    """What does not fit, and what would."""
    size, batch = config.dataset.size, config.train.batch_size
    of = f" in batches of {batch}" if method.phases else ""
    takes = f"memory: {config.method.name} at {size}x{size}{of} takes about {need.all / GB:.1f} GB"
    has = f"{available / GB:.1f} GB {'may be taken' if options.memory is not None else 'can be had'}"
    found = largest_size(config, need, images, own=own, available=available)
    would = f"a size of {found} (--size {found})" if found else "more memory: no size fits"
    fewer = "" if method.finish_bytes is None else ", or fewer method.memory_bank.rows and candidates"
    overrule = "" if options.memory is not None else "; --memory GB overrules what can be had"
    return f"{takes}, and {has}; expected {would}{fewer}{overrule}"


def largest_size(config: ConfigDict, need: Need, images: int, *, own: Method | None, available: float) -> int:
    """The largest side below the configuration's that the teacher takes, at which a fit takes what is available; or 0.

    Args:
        config: how the method is trained; in batches that are as small as can be.
        need: at the configuration's size, which does not fit.
        images: how many are learned from.
        own: a method of the user's own, or None for the configuration's.
        available: bytes.
    """
    if not need.batch:  # nothing that grows with the size is known of it
        return 0
    step = 32 if own else TEACHERS[config.teacher.arch].multiple
    config, most = config.copy_and_resolve_references(), config.dataset.size - step
    guess = step * int(config.dataset.size * math.sqrt(max(0, available - need.fixed) / need.batch) / step)
    side, found = min(max(guess, step), most), 0
    while step <= side <= most:
        config.dataset.size = side
        fits = fit_need(config, own or without_weights(config), images).all <= available
        if fits and side > found:
            found, side = side, side + step
        elif found:
            break
        else:
            side -= step
    return found
