"""The memory bank as a method without phases: from networks and options, or from a configuration."""

import functools
from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
from ml_collections import ConfigDict

from gnl_jax.array_types import Array
from gnl_jax.images.views import normalise
from gnl_jax.methods.bank_fit import make_banks
from gnl_jax.methods.bank_growth import add_to_banks, drop_from_banks, shaped_by_fit
from gnl_jax.methods.bank_need import bank_bytes
from gnl_jax.methods.bank_new_drift import bank_drift
from gnl_jax.methods.bank_options import CORESETS, JOINS, PIXEL_TARGETS, SCORES, BankOptions, parse_sizes
from gnl_jax.methods.bank_programs import Networks
from gnl_jax.methods.bank_views import BANK_VIEWS
from gnl_jax.methods.base import Method
from gnl_jax.methods.choices import PRECISIONS, check_choice, choose
from gnl_jax.methods.memory_bank import score_batch
from gnl_jax.methods.options import augmix_options, scoring_options
from gnl_jax.methods.scoring import Scoring
from gnl_jax.nn.folding import fold
from gnl_jax.nn.pretrained import load_teacher
from gnl_jax.nn.teachers import Teacher, teacher_record
from gnl_jax.ops.nearest import DISTANCES
from gnl_jax.ops.patches import EMBEDDINGS

PyTree = Any
_IMAGENET = functools.partial(normalise, kind="imagenet")


def bank_method(
    teacher: nn.Module,
    variables: PyTree,
    *,
    options: BankOptions = BankOptions(),
    scoring: Scoring = Scoring(),
    preprocess: Callable[[Array], Array] = _IMAGENET,
    dtype: Any = None,
    name: str = "memory_bank",
) -> Method:
    """A memory bank on any teacher with stages.

    Args:
        teacher, variables: the network, called as `ResNet` or `DinoV2` is, and its variables.
        options: what the banks are.
        scoring: matching, alpha and anchors, for the bank's images and the test image alike.
        preprocess: images uint8 [b s s 3] -> what the teacher takes, float32.
        dtype: of the convolutions; float32 by default.
        name: how results are labelled.
    """
    dtype = dtype or jax.numpy.float32

    def finish(frozen: PyTree, state: None, images) -> PyTree:
        networks = Networks(teacher, frozen, preprocess, dtype)
        return {"teacher": frozen, **make_banks(networks, images, options=options, scoring=scoring)}

    def add(variables: PyTree, images) -> PyTree:
        networks = Networks(teacher, variables["teacher"], preprocess, dtype)
        return add_to_banks(networks, variables, images, options=options, scoring=scoring)

    def drift(variables: PyTree, images) -> PyTree:
        networks = Networks(teacher, variables["teacher"], preprocess, dtype)
        return bank_drift(networks, variables, images, options=options, scoring=scoring)

    def finish_bytes(images: int, size: int) -> int:
        networks = Networks(teacher, variables, preprocess, dtype)
        return bank_bytes(networks, images=images, size=size, options=options, scoring=scoring)

    score = functools.partial(
        score_batch, teacher=teacher, preprocess=preprocess, dtype=dtype, options=options, matching=scoring.matching
    )
    return Method(
        name,
        variables,
        (),
        finish,
        score,
        own=("banks", "alpha", "pixels"),
        score_without=score,
        add=add,
        drop=drop_from_banks,
        shaped=shaped_by_fit,
        finish_bytes=finish_bytes,
        make_drift=drift,
    )


def bank_options(config: ConfigDict, teacher: Teacher, *, size: int) -> BankOptions:
    """The group `method.memory_bank` as options, for a teacher and images of `size` pixels.

    Raises:
        ValueError: naming a field.
    """
    field, last = "method.memory_bank", len(teacher.strides)
    tables = {"coreset": CORESETS, "score": SCORES, "pixel_target": PIXEL_TARGETS, "joined": JOINS}
    for name, table in (tables | {"embedding": EMBEDDINGS, "distance": DISTANCES}).items():
        check_choice(table, config[name], f"{field}.{name}")
    if not config.rows > 0 or (config.rows > 1 and config.rows % 1):
        raise ValueError(f"{field}.rows: got {config.rows}, expected a whole number, or a share of all between 0 and 1")
    for name, least in (("candidates", 1), ("projection", 0), ("components", 0), ("neighbours", 1), ("batch_size", 0)):
        if config[name] < least:
            raise ValueError(f"{field}.{name}: got {config[name]}, expected {least} or more")
    for view in config.views:
        check_choice(BANK_VIEWS, view, f"{field}.views")
    if not set(config.matched) <= set(range(1, last + 1)):
        raise ValueError(f"{field}.matched: got {tuple(config.matched)}, expected stages from 1 to {last}")
    if not 0 <= config.last_alpha <= 1:
        raise ValueError(f"{field}.last_alpha: got {config.last_alpha}, expected 0 to 1")
    sizes = parse_sizes(config.sizes, size=size, stages=last, multiple=teacher.multiple)
    if config.score != "map" and len(sizes) > 1:
        raise ValueError(
            f"{field}.score: got {config.score!r} with {len(sizes)} sizes, expected 'map': scores of one bank only"
        )
    options = BankOptions(
        sizes=sizes,
        joined=config.joined,
        pixels=config.pixels,
        pixel_target=config.pixel_target,
        matched=tuple(config.matched),
        last_alpha=config.last_alpha,
        drift=teacher.drift,
        rows=config.rows,
        coreset=config.coreset,
        candidates=config.candidates,
        projection=config.projection,
        views=tuple(config.views),
        components=config.components,
        embedding=config.embedding,
        distance=config.distance,
        score=config.score,
        neighbours=config.neighbours,
        batch_size=config.batch_size,
    )
    if config.score != "map" and not options.has_map:
        raise ValueError(f"{field}.score: got {config.score!r} with {config.embedding} images, expected 'map'")
    if config.embedding == "class" and not teacher.classes:
        raise ValueError(f"{field}.embedding: got 'class', expected another: the teacher has no class token")
    if config.embedding == "tokens" and len(set(teacher.strides)) > 1:
        raise ValueError(f"{field}.embedding: got 'tokens', expected 'patches': the teacher's stages differ in size")
    if config.embedding == "class" and last in options.matched:
        raise ValueError(
            f"{field}.matched: got {options.matched} with the class token, expected stages before {last}: the last "
            "stage's token is not matched"
        )
    if config.embedding == "class" and options.last_alpha != 1:
        raise ValueError(
            f"{field}.last_alpha: got {options.last_alpha} with the class token, expected 1, the default: the last "
            "stage's token is not matched"
        )
    pooled = options.embedding == "pooled" and last in options.matched and any(last in spec.stages for spec in sizes)
    if pooled and options.last_alpha == 1:
        raise ValueError(
            f"{field}.last_alpha: got 1 with stage {last} matched and pooled, expected less: all images have one mean"
        )
    return options


def build_memory_bank(config: ConfigDict, *, matching: str, frozen: PyTree | None) -> Method:
    """The configuration's memory bank; arguments and errors as for `build_method`."""
    arch = config.teacher.arch
    teacher = teacher_record(arch)
    options = bank_options(config.method.memory_bank, teacher, size=config.dataset.size)
    options = options._replace(augmix=augmix_options(config.method.augmix))
    dtype, _ = choose(PRECISIONS, config.precision, "precision")
    if frozen is None:
        frozen = load_teacher(arch, config.teacher.weights, seed=config.teacher.seed)
    return bank_method(
        teacher.module,
        frozen if config.precision == "float32" else fold(frozen),
        options=options,
        scoring=scoring_options(config, matching=matching),
        preprocess=functools.partial(normalise, kind=config.method.normalise),
        dtype=dtype,
        name=config.method.name,
    )
