"""From a configuration to a method: the one place that turns field values into functions."""

import functools
from typing import Any

import jax
import jax.numpy as jnp
from ml_collections import ConfigDict

from gnl_jax.images.augmix import AugMixOptions, sample_augmix
from gnl_jax.images.jigsaw import jigsaw_permutations
from gnl_jax.images.views import make_views, normalise
from gnl_jax.methods.base import Method, Phase
from gnl_jax.methods.choices import OPERATIONS, PRECISIONS, check_fields, choose
from gnl_jax.methods.deep_svdd import build_deep_svdd
from gnl_jax.methods.f_anogan import build_f_anogan
from gnl_jax.methods.fixed_views import fixed_features, split_views
from gnl_jax.methods.jigsaw import Jigsaw
from gnl_jax.methods.kdad import build_kdad
from gnl_jax.methods.losses import LossWeights
from gnl_jax.methods.reverse_distillation import Model, TrainState, init_state, teacher_stages, torch_adam, train_step
from gnl_jax.methods.scoring import make_references, score_batch
from gnl_jax.nn.folding import fold
from gnl_jax.nn.live_kernels import Live, live_parts, optimise_live
from gnl_jax.nn.pretrained import load_teacher
from gnl_jax.ops.mixing import Mixing

PyTree = Any
INIT_STREAM = 0


def matmul_precision(config: ConfigDict) -> str:
    """JAX's precision for products of float32 arrays under this configuration."""
    return choose(PRECISIONS, config.precision, "precision")[1]


def augmix_options(config: ConfigDict) -> AugMixOptions:
    """The group `method.augmix` as options."""
    severity = config.severity
    if severity != "published":
        try:
            severity = float(severity)
        except ValueError:
            raise ValueError(f"method.augmix.severity: got {severity!r}, expected 'published' or a number") from None
    options = AugMixOptions(
        operations=choose(OPERATIONS, config.operations, "method.augmix.operations"),
        severity=severity,
        width=config.width,
        depth=config.depth or None,
        alpha=config.alpha,
        sticky_depth=config.sticky_depth,
        geometric=config.geometric,
    )
    try:
        jax.eval_shape(functools.partial(sample_augmix, **options._asdict()), jax.random.key(0))
    except ValueError as error:
        raise ValueError(f"method.augmix.{error}") from error
    return options


def mixing_options(config: ConfigDict) -> Mixing | None:
    """The group `method.mixing` as options; None where nothing is mixed."""
    if config.kind == "none":
        return None
    return Mixing(config.kind, config.probability, config.alpha, clean_targets=config.targets == "clean")


def jigsaw_options(config: ConfigDict) -> Jigsaw | None:
    """The group `method.jigsaw` as options; None where the weight is zero."""
    if config.weight == 0:
        return None
    permutations = jigsaw_permutations(config.permutations)
    return Jigsaw(config.weight, permutations, config.identity, ordered_only=config.reconstruct == "ordered")


def build_method(config: ConfigDict, *, matching: str = "none", frozen: PyTree | None = None) -> Method:
    """The method that `config` describes, scoring with one `matching`.

    `frozen`: the teacher's variables, if they are already at hand; otherwise `config.teacher` says where they are.
    Raises ValueError naming a field and the choices, before the teacher is loaded; `dataset` is looked at for what the
    networks can take.
    """
    check_fields(config)
    system = config.method.system
    if system == "reverse_distillation":
        return build_reverse_distillation(config, matching=matching, frozen=frozen)
    if matching != "none":
        raise ValueError(f"eval.matching: got {matching!r}, expected 'none': {system} has no features to match")
    return OTHER_SYSTEMS[system](config, frozen=frozen)


def build_reverse_distillation(config: ConfigDict, *, matching: str, frozen: PyTree | None) -> Method:
    """Reverse distillation in any of its configurations; as `build_method`."""
    size, seed = config.dataset.size, config.seed
    if size % 32:
        raise ValueError(f"dataset.size: got {size}, expected a multiple of 32 for reverse distillation")
    dtype, _ = choose(PRECISIONS, config.precision, "precision")
    model = Model.create(config.teacher.arch, dtype, remat=config.train.remat)
    adam = torch_adam(config.train.learning_rate, b1=config.train.beta1, b2=config.train.beta2)
    tx = optimise_live(adam, _live_parts(config.teacher.arch, size))
    preprocess = functools.partial(normalise, kind=config.method.normalise)
    jigsaw = jigsaw_options(config.method.jigsaw)
    options = {
        "model": model,
        "tx": tx,
        "make_views": functools.partial(
            make_views,
            views=tuple(config.method.views),
            normalise=config.method.normalise,
            augmix=augmix_options(config.method.augmix),
        ),
        "loss_weights": LossWeights(config.method.loss_ori, config.method.loss_abs, config.method.loss_lowf),
        "reduction": config.method.reduction,
        "mixing": mixing_options(config.method.mixing),
        "jigsaw": jigsaw,
    }
    split = split_views(config.method.views)
    unchanged = bool(split.fixed) and options["mixing"] is None and jigsaw is None
    alpha, anchor, k = config.eval.alpha, config.eval.anchor, config.eval.anchors
    # In full float32 a library's convolutions are faster without a bias: on an H200 634 images/s instead of 529.
    for_scoring = (lambda variables: variables) if config.precision == "float32" else fold

    def init(key: jax.Array, previous: PyTree, images) -> TrainState:
        return init_state(jax.random.fold_in(key, INIT_STREAM), model=model, tx=tx, size=size, jigsaw=jigsaw)

    def step(key: jax.Array, state: TrainState, frozen: PyTree, images: jax.Array, valid: jax.Array, features: PyTree):
        return train_step(key, state, images, valid, teacher=frozen, features=features, split=split, **options)

    def precompute(frozen: PyTree, images: jax.Array) -> PyTree:
        def stages_of(positions):
            views = options["make_views"](jax.random.key(0), images, positions=positions)
            return teacher_stages(frozen, views, model=model)

        return fixed_features(stages_of, split)

    def finish(frozen: PyTree, state: TrainState, images) -> PyTree:
        params = {name: state.params[name] for name in ("bottleneck", "decoder")}
        variables = {"teacher": frozen, "student": for_scoring({"params": params, "batch_stats": state.batch_stats})}
        if matching != "none":
            references = make_references(
                frozen, images, model=model, preprocess=preprocess, anchor=anchor, k=k, seed=seed
            )
            variables |= {"references": references, "alpha": jnp.float32(alpha)}
        return variables

    if frozen is None:
        frozen = load_teacher(config.teacher.arch, config.teacher.weights, seed=config.teacher.seed)
    frozen = for_scoring(frozen)
    phase = Phase(
        name="distillation",
        epochs=config.train.epochs,
        batch_size=config.train.batch_size,
        init=init,
        step=step,
        min_valid=2 if size == 32 else 1,  # the embedding is 1x1 there: one image is one value per channel
        precompute=precompute if unchanged else None,
    )
    score = functools.partial(score_batch, model=model, preprocess=preprocess, matching=matching)
    return Method(config.method.name, frozen, (phase,), finish, score)


@functools.cache
def _live_parts(arch: str, size: int) -> Live:
    """The student's kernels of which a part meets no data in images of this size."""
    model, image = Model.create(arch), jax.ShapeDtypeStruct((1, size, size, 3), jnp.float32)
    stages = jax.eval_shape(lambda image: model.teacher.init_with_output(jax.random.key(0), image)[0], image)
    return live_parts(model.student, stages)


# What `config.method.system` may name beside reverse distillation.
OTHER_SYSTEMS = {"kdad": build_kdad, "deep_svdd": build_deep_svdd, "f_anogan": build_f_anogan}
