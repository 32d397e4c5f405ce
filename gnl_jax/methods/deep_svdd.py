"""Deep SVDD (Ruff et al., 2018): an encoder that maps normal images close to a centre, one-class objective.

Two phases: an autoencoder, whose encoder the second phase begins with, and the encoder alone, drawn to the mean of its
own embeddings of the training images. The score is the squared distance to that centre; there is no anomaly map.
"""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Bool, Float, Int32, UInt8
from ml_collections import ConfigDict

from gnl_jax.array_types import Array
from gnl_jax.batches import steps_per_epoch
from gnl_jax.images.contrast_normalisation import chunks, contrast, contrast_range, count
from gnl_jax.methods.base import Method, Phase, Prediction
from gnl_jax.methods.choices import PRECISIONS, choose
from gnl_jax.methods.losses import masked_mean
from gnl_jax.nn.apply import outputs
from gnl_jax.nn.batch_norm import fold_statistics
from gnl_jax.nn.lenet import LENETS, LeNet
from gnl_jax.ops.precision import at_least_float32

PyTree = Any
Measured = dict[str, Array | float]
INIT_STREAM = 0
DECAY = 0.1  # of the learning rate, at the milestone
LEAST_CENTRE = 0.1  # in magnitude, of its components: an encoder reaches zero too easily
INFINITY = float("inf")


class SvddState(NamedTuple):
    """Everything a phase changes, and what was measured on the training images before it: arrays only."""

    step: Int32[Array, ""]
    milestone_step: Int32[Array, ""]  # from this step on the learning rate is a tenth
    measured: Measured  # {"low", "high"} float32 [], of `contrast`; then {"centre"} float32 [d], too
    params: PyTree  # {"encoder", "decoder"}, then the encoder's alone; float32
    batch_stats: PyTree  # likewise
    opt_state: PyTree


class SvddNetwork(NamedTuple):
    """The networks and the dtype they run in."""

    network: LeNet
    dtype: Any = jnp.float32


def preprocess(
    images: UInt8[Array, "b s s 3"], measured: Measured, *, model: SvddNetwork
) -> Float[Array, "b s s {model.network.channels}"]:
    """Network inputs of images; the training images' lowest value is 0, their highest is 1."""
    x = contrast(images, channels=model.network.channels)
    return ((x - measured["low"]) / (measured["high"] - measured["low"])).astype(model.dtype)


def reconstruction_error(
    images: Float[Array, "b h w c"], reconstructions: Float[Array, "b h w c"]
) -> Float[Array, "b"]:
    """Sum over pixels and channels of the squared difference."""
    return jnp.sum(jnp.square(at_least_float32(reconstructions) - at_least_float32(images)), axis=(1, 2, 3))


def squared_distance(embeddings: Float[Array, "b d"], centre: Float[Array, "d"]) -> Float[Array, "b"]:
    """||phi - c||^2 of embeddings and a centre: loss and score."""
    return jnp.sum(jnp.square(at_least_float32(embeddings) - centre[None, :]), axis=1)


def away_from_zero(centre: Float[Array, "d"]) -> Float[Array, "d"]:
    """A centre with components below 0.1 in magnitude moved to 0.1 of their sign.

    Published code: an exact zero stays.
    """
    return jnp.where(jnp.abs(centre) < LEAST_CENTRE, LEAST_CENTRE * jnp.sign(centre), centre)


def autoencoder_losses(variables: PyTree, measured, x: Array, valid: Array, *, model: SvddNetwork):
    """Reconstruction error of inputs x [b s s c] -> ([b], BatchNorm statistics of the valid rows)."""
    reconstructions, updates = model.network.autoencoder.apply(variables, x, valid, mutable=["statistics"])
    return reconstruction_error(x, reconstructions), updates["statistics"]


def svdd_losses(variables: PyTree, measured, x: Array, valid: Array, *, model: SvddNetwork):
    """Squared distance to the centre of inputs x [b s s c] -> ([b], BatchNorm statistics of the valid rows)."""
    embeddings, updates = model.network.encoder.apply(variables, x, valid, mutable=["statistics"])
    return squared_distance(embeddings, measured["centre"]), updates["statistics"]


def l2_adam(weight_decay: float, *, b1: float, b2: float) -> optax.GradientTransformation:
    """torch.optim.Adam's direction, epsilon 1e-8, weight decay added to the gradient; the step takes -rate times it."""
    return optax.chain(optax.add_decayed_weights(weight_decay), optax.scale_by_adam(b1=b1, b2=b2, eps=1e-8))


def svdd_step(
    state: SvddState,
    images: UInt8[Array, "b s s 3"],
    valid: Bool[Array, "b"],
    *,
    losses: Callable,
    model: SvddNetwork,
    tx: optax.GradientTransformation,
    learning_rate: float,
) -> tuple[SvddState, dict[str, Array]]:
    """One optimiser step on the mean of `losses` (`autoencoder_losses` or `svdd_losses`) over the valid rows.

    Rows that are not valid change nothing. -> (state, {"loss": scalar}).
    """
    x = preprocess(images, state.measured, model=model)

    def objective(params):
        variables = {"params": params, "batch_stats": state.batch_stats}
        values, statistics = losses(variables, state.measured, x, valid, model=model)
        return masked_mean(values, valid), statistics

    (loss, statistics), gradients = jax.value_and_grad(objective, has_aux=True)(state.params)
    directions, opt_state = tx.update(gradients, state.opt_state, state.params)
    rate = learning_rate * jnp.where(state.step < state.milestone_step, 1.0, DECAY)
    params = jax.tree.map(lambda p, direction: p - rate * direction, state.params, directions)
    batch_stats = fold_statistics(state.batch_stats, jax.tree.map(lambda s: s[None], statistics))
    new = state._replace(step=state.step + 1, params=params, batch_stats=batch_stats, opt_state=opt_state)
    return new, {"loss": loss}


def milestone_step(n: int, *, batch_size: int, min_valid: int, milestone: int) -> Int32[Array, ""]:
    """The first step of epoch `milestone`, counted from 0, over n images; at most its largest number."""
    steps = steps_per_epoch(n, batch_size=batch_size, min_valid=min_valid)
    return jnp.int32(min(milestone * steps, np.iinfo(np.int32).max))


def measure_centre(encoder: PyTree, measured: Measured, images, *, model: SvddNetwork) -> Float[Array, "d"]:
    """`away_from_zero` of the mean embedding of the training images; BatchNorm uses its stored statistics."""

    @jax.jit
    def total(encoder, measured, chunk, valid):
        embeddings = at_least_float32(outputs(model.network.encoder, encoder, preprocess(chunk, measured, model=model)))
        return jnp.sum(jnp.where(valid[:, None], embeddings, 0), axis=0)

    totals = [total(encoder, measured, *chunk) for chunk in chunks(images)]
    return away_from_zero(sum(totals, jnp.zeros(model.network.encoder.features)) / count(images))


def init_autoencoder(key: Array, previous: None, images, *, model: SvddNetwork, tx, milestone_step) -> SvddState:
    """A fresh autoencoder, and the range of the training images: uint8 [n s s 3] or any source of them.

    `images` None gives the right shapes and infinities, which no loss survives. `milestone_step`: int32 from n.
    """
    network = model.network
    x = jnp.zeros((1, network.size, network.size, network.channels))
    variables = jax.jit(network.autoencoder.init)(jax.random.fold_in(key, INIT_STREAM), x)
    low, high = contrast_range(images, channels=network.channels)
    return _begin(variables, {"low": low, "high": high}, tx=tx, milestone_step=milestone_step(count(images)))


def init_svdd(key: Array, previous: SvddState | None, images, *, model: SvddNetwork, tx, milestone_step) -> SvddState:
    """The autoencoder's encoder, running statistics included, and the centre of its embeddings of the training images.

    `previous`: the autoencoder's last state; None for one that was never trained.
    """
    if previous is None:
        previous = init_autoencoder(key, None, images, model=model, tx=tx, milestone_step=milestone_step)
    encoder = {"params": previous.params["encoder"], "batch_stats": previous.batch_stats["encoder"]}
    # Copies: the steps of this phase are given its state's memory, and `previous` may still be in use.
    encoder, measured = jax.tree.map(jnp.array, (encoder, previous.measured))
    measured["centre"] = measure_centre(encoder, measured, images, model=model)
    return _begin(encoder, measured, tx=tx, milestone_step=milestone_step(count(images)))


def _begin(variables: PyTree, measured, *, tx, milestone_step) -> SvddState:
    params, batch_stats = variables["params"], variables["batch_stats"]
    return SvddState(jnp.int32(0), milestone_step, measured, params, batch_stats, tx.init(params))


def score_batch(variables: PyTree, images: UInt8[Array, "b s s 3"], *, model: SvddNetwork) -> Prediction[Array]:
    """Squared distance to the centre as the score of images; rows do not influence each other.

    variables: {"encoder", "measured"}.
    """
    measured = variables["measured"]
    embeddings = outputs(model.network.encoder, variables["encoder"], preprocess(images, measured, model=model))
    return Prediction(squared_distance(embeddings, measured["centre"]))


def _finish(frozen: PyTree, state: SvddState, images) -> PyTree:
    encoder = {"params": state.params, "batch_stats": state.batch_stats}
    return {"encoder": encoder, "measured": state.measured}


def check_deep_svdd(config: ConfigDict) -> None:
    """Raises ValueError naming a field of `method.deep_svdd`, or `dataset.size` where the network needs another."""
    fields = config.method.deep_svdd
    network = choose(LENETS, fields.network, "method.deep_svdd.network")
    for field in ("pretrain_epochs", "pretrain_milestone", "pretrain_weight_decay", "milestone", "weight_decay"):
        if not 0 <= fields[field] < INFINITY:
            raise ValueError(f"method.deep_svdd.{field}: got {fields[field]}, expected 0 or more")
    if config.dataset.size != network.size:
        raise ValueError(
            f"dataset.size: got {config.dataset.size}, expected {network.size}, the side of the images that "
            f"method.deep_svdd.network {fields.network!r} takes"
        )


def build_deep_svdd(config: ConfigDict, *, frozen: PyTree | None = None) -> Method:
    """Deep SVDD as `config` describes it; nothing is frozen, so `frozen` is {} or None.

    Raises ValueError naming a field (`check_deep_svdd`).
    """
    check_deep_svdd(config)
    fields, train = config.method.deep_svdd, config.train
    dtype, _ = choose(PRECISIONS, config.precision, "precision")
    model = SvddNetwork(LENETS[fields.network], dtype)

    def phase(name, init, losses, *, epochs: int, milestone: int, weight_decay: float, min_valid: int) -> Phase:
        tx = l2_adam(weight_decay, b1=train.beta1, b2=train.beta2)
        first_slow = functools.partial(
            milestone_step, batch_size=train.batch_size, min_valid=min_valid, milestone=milestone
        )

        def step(key, state, frozen, images, valid, features):
            rate = train.learning_rate
            return svdd_step(state, images, valid, losses=losses, model=model, tx=tx, learning_rate=rate)

        init = functools.partial(init, model=model, tx=tx, milestone_step=first_slow)
        return Phase(name, epochs, train.batch_size, init, step, min_valid)

    autoencoder = phase(
        "autoencoder",
        init_autoencoder,
        autoencoder_losses,
        epochs=fields.pretrain_epochs,
        milestone=fields.pretrain_milestone,
        weight_decay=fields.pretrain_weight_decay,
        min_valid=model.network.min_valid,
    )
    svdd = phase(
        "svdd",
        init_svdd,
        svdd_losses,
        epochs=train.epochs,
        milestone=fields.milestone,
        weight_decay=fields.weight_decay,
        min_valid=1,
    )
    return Method(config.method.name, {}, (autoencoder, svdd), _finish, functools.partial(score_batch, model=model))
