"""Reverse distillation as a method: from networks and options, or from a configuration."""

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import optax
from ml_collections import ConfigDict

from gnl_jax.array_types import Array
from gnl_jax.images.views import make_views, normalise
from gnl_jax.methods.base import Method, Phase
from gnl_jax.methods.choices import PRECISIONS, choose
from gnl_jax.methods.drift import make_drift
from gnl_jax.methods.fixed_views import fixed_features, split_views
from gnl_jax.methods.jigsaw import Jigsaw
from gnl_jax.methods.losses import GNL_WEIGHTS, Loss, LossWeights, gnl_losses
from gnl_jax.methods.options import augmix_options, jigsaw_options, mixing_options, scoring_options
from gnl_jax.methods.reverse_distillation import (
    Model,
    TrainState,
    init_state,
    stage_shapes,
    teacher_stages,
    torch_adam,
    train_step,
)
from gnl_jax.methods.scoring import Scoring, make_references, score_batch
from gnl_jax.nn.folding import fold
from gnl_jax.nn.live_kernels import Live, live_parts, optimise_live
from gnl_jax.nn.pretrained import load_teacher
from gnl_jax.ops.mixing import Mixing

PyTree = Any
INIT_STREAM = 0
_IMAGENET = functools.partial(normalise, kind="imagenet")
_UNMATCHED = Scoring()


def distillation_method(
    model: Model,
    teacher: PyTree,
    *,
    size: int,
    make_views: Callable[..., Array],
    tx: optax.GradientTransformation,
    losses: Mapping[str, Loss] | None = None,
    loss_weights: LossWeights | Mapping[str, float] = GNL_WEIGHTS,
    mixing: Mixing | None = None,
    jigsaw: Jigsaw | None = None,
    views: Sequence[str] | None = None,
    preprocess: Callable[[Array], Array] = _IMAGENET,
    epochs: int = 20,
    batch_size: int = 16,
    scoring: Scoring = _UNMATCHED,
    fold_for_scoring: Callable[[PyTree], PyTree] = lambda variables: variables,
    name: str = "distillation",
) -> Method:
    """Reverse distillation from any teacher with three stages, each half the side of the one before.

    Args:
        model: the networks; `Model(teacher, student)` with modules of your own, or `Model.create`. `Student` fits any
            teacher of this kind, whatever its strides and channels.
        teacher: variables of `model.teacher`, in the form that scoring uses.
        size: side of the images in pixels.
        make_views: `(key, images uint8 [b s s 3]) -> float32 [v b s s 3]`; where `views` is given also `positions`.
        tx: the optimiser.
        losses, loss_weights, mixing, jigsaw: as for `train_step`.
        views: names of the views (`images.views.VIEWS`), so that the teacher's features of those that never change are
            computed once; None where `make_views` makes others.
        preprocess: images uint8 [b s s 3] -> what the teacher takes, float32, when scoring.
        epochs, batch_size: of the one phase.
        scoring: which matching, and to which images.
        fold_for_scoring: applied to the student's variables when training is over.
        name: how results are labelled.

    Raises:
        ValueError: a teacher with other stages; they are listed.
    """
    last_side = stage_shapes(model.teacher, size)[-1].shape[1]
    split = split_views(views or ())
    unchanged = bool(split.fixed) and mixing is None and jigsaw is None

    def init(key: Array, previous: PyTree, images) -> TrainState:
        return init_state(jax.random.fold_in(key, INIT_STREAM), model=model, tx=tx, size=size, jigsaw=jigsaw)

    def step(key: Array, state: TrainState, frozen: PyTree, images: Array, valid: Array, features: PyTree):
        return train_step(
            key,
            state,
            images,
            valid,
            model=model,
            tx=tx,
            teacher=frozen,
            make_views=make_views,
            losses=losses,
            loss_weights=loss_weights,
            mixing=mixing,
            jigsaw=jigsaw,
            features=features,
            split=split,
        )

    def precompute(frozen: PyTree, images: Array) -> PyTree:
        def stages_of(positions):
            chosen = make_views(jax.random.key(0), images, positions=positions)
            return teacher_stages(frozen, chosen, model=model)

        return fixed_features(stages_of, split)

    def finish(frozen: PyTree, state: TrainState, images) -> PyTree:
        params = {name: state.params[name] for name in ("bottleneck", "decoder")}
        student = fold_for_scoring({"params": params, "batch_stats": state.batch_stats})
        variables = {"teacher": frozen, "student": student}
        if scoring.matching != "none":
            references = make_references(
                frozen,
                images,
                model=model,
                preprocess=preprocess,
                anchor=scoring.anchor,
                k=scoring.anchors,
                seed=scoring.seed,
            )
            variables |= {"references": references, "alpha": jnp.float32(scoring.alpha)}
        return variables

    def drift(variables: PyTree, images) -> PyTree:
        matched = {name: variables[name] for name in ("references", "alpha") if name in variables}
        return make_drift(
            variables["teacher"],
            images,
            model=model,
            preprocess=preprocess,
            matching=scoring.matching,
            **matched,
        )

    phase = Phase(
        name="distillation",
        epochs=epochs,
        batch_size=batch_size,
        init=init,
        step=step,
        min_valid=2 if last_side == 2 else 1,  # the embedding is 1x1 then: one image is one value per channel
        precompute=precompute if unchanged else None,
    )
    score = functools.partial(score_batch, model=model, preprocess=preprocess, matching=scoring.matching)
    return Method(name, teacher, (phase,), finish, score, make_drift=drift)


def build_distillation(config: ConfigDict, *, matching: str, frozen: PyTree | None) -> Method:
    """The configuration's reverse distillation; arguments and errors as for `build_method`."""
    size, arch = config.dataset.size, config.teacher.arch
    model = Model.create(arch, choose(PRECISIONS, config.precision, "precision")[0], remat=config.train.remat)
    adam = torch_adam(config.train.learning_rate, b1=config.train.beta1, b2=config.train.beta2)
    # In full float32 a library's convolutions are faster without a bias: on an H200 634 images/s instead of 529.
    for_scoring = (lambda variables: variables) if config.precision == "float32" else fold
    options = {
        "make_views": functools.partial(
            make_views,
            views=tuple(config.method.views),
            normalise=config.method.normalise,
            augmix=augmix_options(config.method.augmix),
        ),
        "loss_weights": LossWeights(config.method.loss_ori, config.method.loss_abs, config.method.loss_lowf),
        "losses": gnl_losses(reduction=config.method.reduction),
        "mixing": mixing_options(config.method.mixing),
        "jigsaw": jigsaw_options(config.method.jigsaw),
        "tx": optimise_live(adam, _live_parts(arch, size)),
    }
    if frozen is None:
        frozen = load_teacher(arch, config.teacher.weights, seed=config.teacher.seed)
    return distillation_method(
        model,
        for_scoring(frozen),
        size=size,
        views=config.method.views,
        preprocess=functools.partial(normalise, kind=config.method.normalise),
        epochs=config.train.epochs,
        batch_size=config.train.batch_size,
        scoring=scoring_options(config, matching=matching),
        fold_for_scoring=for_scoring,
        name=config.method.name,
        **options,
    )


@functools.cache
def _live_parts(arch: str, size: int) -> Live:
    """The student's kernels of which a part meets no data in images of this size."""
    model = Model.create(arch)
    return live_parts(model.student, stage_shapes(model.teacher, size))
