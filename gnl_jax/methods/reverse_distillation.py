"""Reverse distillation: RD4AD, GNL and everything between, as configurations of one training step.

Which views, which loss weights, which mixing of features, jigsaw or not: training. Which matching: scoring
(`methods/scoring.py`).
"""

import functools
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import optax
from jaxtyping import Bool, Float, Int32, Key, Real

from gnl_jax.array_types import Array
from gnl_jax.images.jigsaw import shuffle_tiles
from gnl_jax.methods.fixed_views import ViewSplit, ViewStages, joined_stages
from gnl_jax.methods.jigsaw import Jigsaw, init_head, jigsaw_loss
from gnl_jax.methods.losses import Loss, LossWeights, Outputs, gnl_losses, masked_mean
from gnl_jax.nn.apply import outputs
from gnl_jax.nn.batch_norm import fold_statistics
from gnl_jax.nn.decoder import Student
from gnl_jax.nn.resnet import Match
from gnl_jax.nn.teachers import teacher_record
from gnl_jax.ops.mixing import Mixing, make_mixer

PyTree = Any
VIEWS_STREAM, MIXING_STREAM, JIGSAW_STREAM = 1, 2, 3  # random streams of a step; 0 is initialisation


class TrainState(NamedTuple):
    """Everything training changes: arrays only."""

    step: Int32[Array, ""]
    params: PyTree  # {"bottleneck", "decoder"} and, with a jigsaw task, its head "jigsaw"; float32
    batch_stats: PyTree
    opt_state: PyTree


class Model(NamedTuple):
    """The networks, and the dtype convolutions run in.

    Attributes:
        teacher: images [b s s 3] and `match` -> three stages, called as `ResNet` is; hashable, as flax modules are.
        student: as `Student`: stages and `valid` -> (embedding, stages), with the parts "bottleneck" and "decoder".
        dtype: of the convolutions.
    """

    teacher: nn.Module
    student: nn.Module
    dtype: Any = jnp.float32

    @classmethod
    def create(cls, arch: str, dtype: Any = jnp.float32, *, remat: bool = False) -> "Model":
        """Teacher and student of a record of `TEACHERS`; `remat` of the student, as for `nn.blocks.stage`."""
        teacher = teacher_record(arch)
        return cls(teacher.module, Student(teacher.student, remat), dtype)


def torch_adam(learning_rate: float, *, b1: float, b2: float) -> optax.GradientTransformation:
    """torch.optim.Adam without weight decay (epsilon 1e-8 outside the root)."""
    return optax.adam(learning_rate, b1=b1, b2=b2, eps=1e-8)


@functools.cache
def stage_shapes(teacher: nn.Module, size: int) -> tuple[jax.ShapeDtypeStruct, ...]:
    """The teacher's stages of one image [1 s s 3], as shapes. Raises ValueError unless a student can learn them.

    There are three, each half the side of the one before, and the last one's side is even.
    """
    image = jax.ShapeDtypeStruct((1, size, size, 3), jnp.float32)
    stages = jax.eval_shape(lambda image: teacher.init_with_output(jax.random.key(0), image)[0], image)
    sides = [stage.shape[1] for stage in stages]
    square = all(stage.shape[1] == stage.shape[2] for stage in stages)
    if not (square and len(sides) == 3 and sides[0] == 2 * sides[1] == 4 * sides[2] and sides[2] % 2 == 0):
        found = ", ".join(str(list(stage.shape[1:])) for stage in stages)
        raise ValueError(
            f"teacher: got stages {found} of images of {size} pixels, expected three [h h c], [h/2 h/2 c], [h/4 h/4 c] "
            "with h/4 even"
        )
    return tuple(stages)


def init_state(
    key: Array, *, model: Model, tx: optax.GradientTransformation, size: int, jigsaw: Jigsaw | None = None
) -> TrainState:
    """A fresh student for images [s s 3], the published initialisation, and its optimiser."""

    def init(key):
        stages = stage_shapes(model.teacher, size)
        variables = model.student.init(key, tuple(jnp.zeros(s.shape) for s in stages))
        params = variables["params"]
        if jigsaw is not None:
            features = 2 * stages[-1].shape[-1]  # of the embedding
            head = init_head(jax.random.fold_in(key, 1), features=features, orders=len(jigsaw.permutations))
            params = {**params, "jigsaw": head}
        return TrainState(jnp.zeros((), jnp.int32), params, variables["batch_stats"], tx.init(params))

    return jax.jit(init)(key)


def teacher_stages(
    teacher: PyTree, views: Float[Array, "v b s s 3"], *, model: Model, match: Match | None = None
) -> ViewStages:
    """Teacher features of every view, (E1, E2, E3); no gradient passes.

    `match` is the teacher's hook on stages 1 and 2, given all views at once, [b*v h w c]: the views of an image are
    neighbours, so that images divided over devices stay where they are.

    Published code: the teacher is not detached, but it is in no optimiser, so the result is the same.
    """
    v, b, *image = views.shape
    flat = jnp.moveaxis(views, 0, 1).reshape(b * v, *image).astype(model.dtype)
    with jax.named_scope("teacher"):
        stages: tuple[Array, ...] = outputs(model.teacher, teacher, flat, match)
    return tuple(jax.lax.stop_gradient(jnp.moveaxis(s.reshape(b, v, *s.shape[1:]), 1, 0)) for s in stages)


def forward(
    params: PyTree,
    batch_stats: PyTree,
    stages: ViewStages,
    valid: Bool[Array, "b"],
    *,
    model: Model,
    targets: ViewStages | None = None,
) -> tuple[Outputs, PyTree]:
    """The student over all views of a batch in one pass, and the views' BatchNorm statistics.

    Args:
        params, batch_stats: of the student.
        stages: teacher features, view 0 the one that is reconstructed.
        valid: other rows count in no statistic.
        model: the networks.
        targets: what view 0's reconstruction is compared with, as `stages`, which is the default.

    Returns:
        (outputs, statistics: the tree of batch_stats with a leading v). Each view is normalised by its own batch
        statistics, as in the published separate passes.
    """
    variables = {"params": params, "batch_stats": batch_stats}
    # An image's views are neighbours, as for the teacher: a batch that is divided over devices stays divided.
    rows = tuple(jnp.moveaxis(stage, 0, 1) for stage in stages)
    outputs, updates = model.student.apply(variables, rows, valid, mutable=["statistics"])
    embedding, decoded = jax.tree.map(lambda x: jnp.moveaxis(x, 1, 0), outputs)
    return Outputs(stages, tuple(e[0] for e in targets or stages), embedding, decoded), updates["statistics"]


def view_losses(
    params: PyTree,
    batch_stats: PyTree,
    stages: ViewStages,
    valid: Bool[Array, "b"],
    *,
    model: Model,
    losses: Mapping[str, Loss],
    targets: ViewStages | None = None,
    order: Int32[Array, "b"] | None = None,
) -> tuple[dict[str, Float[Array, "b"]], PyTree]:
    """The losses of a batch by name, and the views' BatchNorm statistics; arguments as for `forward`.

    order: how the images' tiles were shuffled; with it there is one loss more, "jigsaw".
    """
    outputs, statistics = forward(params, batch_stats, stages, valid, model=model, targets=targets)
    with jax.named_scope("losses"):
        values = {name: loss(outputs) for name, loss in losses.items()}
    if order is not None:
        values["jigsaw"] = jigsaw_loss(params["jigsaw"], outputs.embedding[0], order)
    return values, statistics


def train_step(
    key: Key[Array, ""],
    state: TrainState,
    images: Real[Array, "b s s 3"],
    valid: Bool[Array, "b"],
    *,
    model: Model,
    tx: optax.GradientTransformation,
    teacher: PyTree,
    make_views: Callable[..., Array],
    loss_weights: LossWeights | Mapping[str, float],
    losses: Mapping[str, Loss] | None = None,
    mixing: Mixing | None = None,
    jigsaw: Jigsaw | None = None,
    features: PyTree = None,
    split: ViewSplit | None = None,
) -> tuple[TrainState, dict[str, Float[Array, ""]]]:
    """One optimiser step of the weighted losses, by default L = l_ori L_ori + l_abs L_abs + l_lowf L_lowf (Eq. 3).

    key: the run's key (the step is folded in here); `make_views(key, images) -> [v b s s 3]`. `losses` are functions of
    `Outputs` by name, `gnl_losses()` by default; each has its weight in `loss_weights`. `mixing` mixes the teacher's
    features within the batch, `jigsaw` shuffles the images' tiles and adds its weighted loss. `features` are those of
    the batch's fixed views (`fixed_features`), if they were computed before, and `split` says which these are; then
    `make_views` takes `positions`, and there is neither mixing nor jigsaw. Rows that are not valid change nothing. ->
    (state, {"loss"} and each loss by its name, with `jigsaw` also "jigsaw": scalars). Raises ValueError where losses
    and weights have other names.
    """

    def stream(number: int) -> Array:
        return jax.random.fold_in(jax.random.fold_in(key, number), state.step)

    losses = gnl_losses() if losses is None else losses
    weights = loss_weights._asdict() if isinstance(loss_weights, LossWeights) else dict(loss_weights)
    if weights.keys() != losses.keys():
        raise ValueError(f"loss_weights: got weights of {sorted(weights)}, expected those of {sorted(losses)}")
    counted, order = {}, None
    if jigsaw is not None:
        images, order = shuffle_tiles(stream(JIGSAW_STREAM), images, jnp.asarray(jigsaw.permutations), jigsaw.identity)
        weights["jigsaw"] = jigsaw.weight
        if jigsaw.ordered_only:
            counted["ori"] = valid & (order == 0)

    def stages_of(positions=None, match=None):
        chosen = {} if positions is None else {"positions": positions}
        with jax.named_scope("views"):
            views = make_views(stream(VIEWS_STREAM), images, **chosen)
        return teacher_stages(teacher, views, model=model, match=match)

    targets = None
    if features is not None and split is not None:
        stages = joined_stages(features, stages_of, split)
    elif mixing is not None:
        stages = stages_of(match=make_mixer(stream(MIXING_STREAM), valid, mixing))
        targets = stages_of() if mixing.clean_targets else None
    else:
        stages = stages_of()

    def objective(params):
        values, statistics = view_losses(
            params, state.batch_stats, stages, valid, model=model, losses=losses, targets=targets, order=order
        )
        metrics = {name: masked_mean(each, counted.get(name, valid)) for name, each in values.items()}
        loss = sum(weights[name] * metrics[name] for name in metrics)
        return loss, ({"loss": loss, **metrics}, statistics)

    gradients, (metrics, statistics) = jax.grad(objective, has_aux=True)(state.params)
    with jax.named_scope("optimiser"):
        updates, opt_state = tx.update(gradients, state.opt_state, state.params)
        params = optax.apply_updates(state.params, updates)
    batch_stats = fold_statistics(state.batch_stats, statistics)
    return TrainState(state.step + 1, params, batch_stats, opt_state), metrics
