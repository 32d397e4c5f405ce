"""A memory bank and a briefly trained student on one pass of the teacher: each map is standardised, and they are added.

The two look at different things: the bank at whether a patch was seen before, the student at whether it can be
reconstructed.
"""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, Int32, UInt8
from ml_collections import ConfigDict

from gnl_jax.array_types import Array
from gnl_jax.images.views import normalise
from gnl_jax.methods.bank_method import bank_method, bank_options
from gnl_jax.methods.bank_options import BankOptions
from gnl_jax.methods.bank_passes import in_chunks
from gnl_jax.methods.bank_rows import LEAST_SCALE
from gnl_jax.methods.base import Method, Prediction
from gnl_jax.methods.choices import PRECISIONS, choose
from gnl_jax.methods.distillation import build_distillation
from gnl_jax.methods.memory_bank import network_input, score_banks, within
from gnl_jax.methods.options import augmix_options, scoring_options
from gnl_jax.methods.reverse_distillation import Model
from gnl_jax.methods.scoring import Scoring, hold_region
from gnl_jax.nn.apply import outputs
from gnl_jax.nn.teachers import teacher_record
from gnl_jax.ops.scoremap import image_score, score_map

PyTree = Any


def bank_and_student(
    student: Method,
    model: Model,
    *,
    options: BankOptions = BankOptions(),
    scoring: Scoring = Scoring(),
    preprocess: Callable[[Array], Array],
    name: str = "bank_and_student",
) -> Method:
    """A student's phases, and a memory bank beside it when it is trained.

    Args:
        student: of `distillation_method`, without matching, with `model` and `preprocess`.
        model: the networks.
        options, scoring: of the bank; one of its sizes is the whole side, which the student looks at too.
        preprocess: images uint8 [b s s 3] -> what the teacher takes, float32.
        name: how results are labelled.

    Raises:
        ValueError: a bank without a map, or without the whole side.
    """
    if not options.has_map or options.score != "map":
        raise ValueError(
            f"method.memory_bank: got embedding {options.embedding!r} and score {options.score!r}, expected 'patches' "
            "and 'map': the bank's map and the student's are added"
        )
    if all(spec.scale != 1 for spec in options.sizes):
        raise ValueError("method.memory_bank.sizes: expected one of the whole side, '1:…', which the student sees too")
    bank = bank_method(
        model.teacher,
        student.frozen,
        options=options,
        scoring=scoring,
        preprocess=preprocess,
        dtype=model.dtype,
    )
    how: dict[str, Any] = {"model": model, "preprocess": preprocess, "options": options, "matching": scoring.matching}

    def finish(frozen: PyTree, state: PyTree, images) -> PyTree:
        learned = student.finish(frozen, state, images)["student"]
        variables = {**bank.finish(frozen, None, images), "student": learned}
        return {**variables, "scales": make_scales(variables, images, **how)}

    score = functools.partial(score_batch, **how)
    return Method(
        name,
        student.frozen,
        student.phases,
        finish,
        score,
        own=(*bank.own, "scales"),
        score_without=score,
        finish_bytes=bank.finish_bytes,
        make_drift=bank.make_drift,
    )


def two_maps(
    variables: PyTree,
    images: UInt8[Array, "b s s 3"],
    without: Int32[Array, "b"] | None = None,
    *,
    model: Model,
    preprocess: Callable[[Array], Array],
    options: BankOptions,
    matching: str,
) -> tuple[dict[str, Float[Array, "b s s"]], Float[Array, "b"] | None]:
    """({"bank", "student"}, a map each, and the drift or None) of images.

    The student reconstructs stages 1 and 2 as matched and stage 3 as they make it, as in reverse distillation. Other
    arguments as for `memory_bank.score_batch`.
    """
    x = network_input(images, variables.get("pixels"), preprocess=preprocess, dtype=model.dtype)
    found = score_banks(variables, x, without, teacher=model.teacher, options=options, matching=matching)
    whole = found.stages[images.shape[1]]
    stages = (*whole.matched[:2], whole.before[2])
    _, decoded = outputs(model.student, variables["student"], stages)
    with jax.named_scope("score map"):
        maps = {"bank": found.map, "student": score_map(stages, decoded, size=(images.shape[1], images.shape[2]))}
    return maps, found.drift


def make_scales(variables: PyTree, images, **how) -> PyTree:
    """Mean and standard deviation of what good images score: {"bank", "student"}, {"location", "scale"} each.

    Args:
        variables: those of the bank, and "student".
        images: the ones that were learned from, uint8 [n s s 3], or any source of them. The bank scores each without
            its own part. The student has seen it: to leave it out would mean to train anew.
        how: as for `two_maps`.

    Raises:
        ValueError: images of one part alone.
    """
    parts = np.asarray(variables["parts"])
    if len(np.unique(parts)) < 2:
        raise ValueError("images: got one part alone, expected two or more: each is scored without its own")

    @jax.jit
    def scores(variables, batch, without):
        maps, _ = two_maps(variables, batch, without, **how)
        return {name: image_score(map_) for name, map_ in maps.items()}

    found, start = [], 0
    for batch, count in in_chunks(images, np.arange(len(parts)), how["options"]):
        own = np.resize(parts[start : start + count], len(batch))
        found.append({name: np.asarray(s, np.float64)[:count] for name, s in scores(variables, batch, own).items()})
        start += count
    scales = {}
    for name in ("bank", "student"):
        values = np.concatenate([chunk[name] for chunk in found])
        scale = max(float(values.std()), LEAST_SCALE)
        scales[name] = {"location": jnp.float32(values.mean()), "scale": jnp.float32(scale)}
    return scales


def score_batch(
    variables: PyTree, images: UInt8[Array, "b s s 3"], without: Int32[Array, "b"] | None = None, **how
) -> Prediction[Array]:
    """Score and map of images: the sum of the two maps, each less its location and over its scale; and drift.

    Args:
        variables: as for `memory_bank.score_batch`, with "student" and "scales".
        images, without: as there.
        how: as for `two_maps`.
    """
    region = variables.get("region")
    if region is not None:
        images = hold_region(images, region)
    maps, drift = two_maps(variables, images, without, **how)
    scales = variables["scales"]
    total = sum((map_ - scales[name]["location"]) / scales[name]["scale"] for name, map_ in maps.items())
    if region is not None:
        total = within(region, total)
    return Prediction(image_score(total), total, drift)


def build_bank_and_student(config: ConfigDict, *, matching: str, frozen: PyTree | None) -> Method:
    """The configuration's bank and student; arguments and errors as for `build_method`."""
    options = bank_options(config.method.memory_bank, teacher_record(config.teacher.arch), size=config.dataset.size)
    student = build_distillation(config, matching="none", frozen=frozen)
    return bank_and_student(
        student,
        Model.create(config.teacher.arch, choose(PRECISIONS, config.precision, "precision")[0]),
        options=options._replace(augmix=augmix_options(config.method.augmix)),
        scoring=scoring_options(config, matching=matching),
        preprocess=functools.partial(normalise, kind=config.method.normalise),
        name=config.method.name,
    )
