"""KDAD, multiresolution knowledge distillation: a small cloner imitates VGG-16 on normal images and fails on others."""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Bool, Float, UInt8
from ml_collections import ConfigDict

from gnl_jax.array_types import Array
from gnl_jax.images.views import NORMALISERS, normalise
from gnl_jax.methods.base import Method, Phase, Prediction
from gnl_jax.methods.choices import PRECISIONS, choose
from gnl_jax.methods.losses import masked_mean
from gnl_jax.methods.reverse_distillation import TrainState, torch_adam
from gnl_jax.nn.apply import outputs
from gnl_jax.nn.batch_norm import fold_statistics
from gnl_jax.nn.pretrained import load_teacher
from gnl_jax.nn.vgg import Cloner, Source
from gnl_jax.ops.cosine import cosine_distance
from gnl_jax.ops.precision import at_least_float32

PyTree = Any
Taps = tuple[Float[Array, "b _ _ _"], ...]  # outputs of poolings 2 to 5, [b h w c]
INIT_STREAM = 0  # number of the random stream of initialisation; training draws nothing
SCORED = 3  # of the taps, the deepest ones


class KdadNetworks(NamedTuple):
    """The two networks, what comes before them (`preprocess`: uint8 images -> float32), and their dtype."""

    source: Source
    cloner: Cloner
    preprocess: Callable[[Array], Array]
    dtype: Any = jnp.float32

    def inputs(self, images: UInt8[Array, "b s s 3"]) -> Float[Array, "b s s 3"]:
        """What both networks take, in their dtype."""
        return self.preprocess(images).astype(self.dtype)


def tap_distance(source: Taps, cloner: Taps, *, mse_weight: float) -> Float[Array, "b"]:
    """Sum over the taps given of 1 - cos (of a whole tap as one vector) + mse_weight * mean squared difference.

    Its mean over a batch is the published loss, over the deepest three taps it is the published score.
    """

    def squared(a: Array, b: Array) -> Array:
        return jnp.mean(jnp.square(at_least_float32(a) - at_least_float32(b)), axis=(1, 2, 3))

    distances = (cosine_distance(a, b) + mse_weight * squared(a, b) for a, b in zip(source, cloner, strict=True))
    return functools.reduce(jnp.add, distances)


def source_taps(source: PyTree, images: UInt8[Array, "b s s 3"], *, model: KdadNetworks) -> Taps:
    """What the cloner is to reproduce; no gradient passes."""
    return jax.lax.stop_gradient(outputs(model.source, source, model.inputs(images)))


def init_cloner(key: Array, *, model: KdadNetworks, tx: optax.GradientTransformation) -> TrainState:
    """A fresh cloner and its optimiser; the variables do not depend on the size of the images."""

    def init(key: Array) -> TrainState:
        variables = model.cloner.init(key, jnp.zeros((1, 32, 32, 3)))
        params = variables["params"]
        return TrainState(jnp.zeros((), jnp.int32), params, variables["batch_stats"], tx.init(params))

    return jax.jit(init)(key)


def kdad_step(
    state: TrainState,
    images: UInt8[Array, "b s s 3"],
    valid: Bool[Array, "b"],
    features: Taps | None,
    *,
    model: KdadNetworks,
    tx: optax.GradientTransformation,
    source: PyTree,
    mse_weight: float,
) -> tuple[TrainState, dict[str, Float[Array, ""]]]:
    """One optimiser step on the mean `tap_distance` over all four taps.

    features: the images' `source_taps`, computed here if None. Rows that are
    not valid change nothing. -> (state, {"loss"}).
    """
    targets = source_taps(source, images, model=model) if features is None else jax.lax.stop_gradient(features)

    def objective(params: PyTree) -> tuple[Array, PyTree]:
        variables = {"params": params, "batch_stats": state.batch_stats}
        taps, updates = model.cloner.apply(variables, model.inputs(images), valid, mutable=["statistics"])
        return masked_mean(tap_distance(targets, taps, mse_weight=mse_weight), valid), updates["statistics"]

    (loss, statistics), gradients = jax.value_and_grad(objective, has_aux=True)(state.params)
    updates, opt_state = tx.update(gradients, state.opt_state, state.params)
    params = optax.apply_updates(state.params, updates)
    one_view = jax.tree.map(lambda statistic: statistic[None], statistics)
    batch_stats = fold_statistics(state.batch_stats, one_view)
    return TrainState(state.step + 1, params, batch_stats, opt_state), {"loss": loss}


def score_batch(
    variables: PyTree, images: UInt8[Array, "b s s 3"], *, model: KdadNetworks, mse_weight: float
) -> Prediction[Array]:
    """`tap_distance` over poolings 3 to 5 as the score of images; variables {"teacher", "student"}.

    Published code: the score is one number per image, so there is no map.
    """
    targets = source_taps(variables["teacher"], images, model=model)
    taps = outputs(model.cloner, variables["student"], model.inputs(images))
    return Prediction(tap_distance(targets[-SCORED:], taps[-SCORED:], mse_weight=mse_weight))


def build_kdad(config: ConfigDict, *, frozen: PyTree | None = None) -> Method:
    """KDAD as `config` describes it: one phase, "distillation".

    `frozen`: the source's variables, if they are already at hand; otherwise `config.teacher` says where they are.
    Raises ValueError naming a field and what it may be, before the source is loaded.
    """
    _check(config)
    mse_weight = config.method.kdad.mse_weight
    model = KdadNetworks(
        Source(),
        Cloner(),
        preprocess=functools.partial(normalise, kind=config.method.normalise),
        dtype=choose(PRECISIONS, config.precision, "precision")[0],
    )
    tx = torch_adam(config.train.learning_rate, b1=config.train.beta1, b2=config.train.beta2)

    def init(key: Array, previous: PyTree, images) -> TrainState:
        return init_cloner(jax.random.fold_in(key, INIT_STREAM), model=model, tx=tx)

    def step(key: Array, state: TrainState, frozen: PyTree, images: Array, valid: Array, features: PyTree):
        return kdad_step(state, images, valid, features, model=model, tx=tx, source=frozen, mse_weight=mse_weight)

    def finish(frozen: PyTree, state: TrainState, images) -> PyTree:
        return {"teacher": frozen, "student": {"params": state.params, "batch_stats": state.batch_stats}}

    if frozen is None:
        frozen = load_teacher(config.teacher.arch, config.teacher.weights, seed=config.teacher.seed)
    phase = Phase(
        name="distillation",
        epochs=config.train.epochs,
        batch_size=config.train.batch_size,
        init=init,
        step=step,
        min_valid=1,  # the cloner's last BatchNorm sees s/16 x s/16 maps: of one image too, at least four values
        precompute=functools.partial(source_taps, model=model),
    )
    score = functools.partial(score_batch, model=model, mse_weight=mse_weight)
    return Method(config.method.name, frozen, (phase,), finish, score)


def _check(config: ConfigDict) -> None:
    """Raises ValueError for a field that KDAD reads and that has no meaning for it."""
    if config.teacher.arch != "vgg16":
        raise ValueError(f"teacher.arch: got {config.teacher.arch!r}, expected 'vgg16' for KDAD")
    if config.dataset.size < 32 or config.dataset.size % 32:
        raise ValueError(f"dataset.size: got {config.dataset.size}, expected a positive multiple of 32 for KDAD")
    if not 0 <= config.method.kdad.mse_weight < float("inf"):
        raise ValueError(f"method.kdad.mse_weight: got {config.method.kdad.mse_weight}, expected 0 or more")
    choose(NORMALISERS, config.method.normalise, "method.normalise")
