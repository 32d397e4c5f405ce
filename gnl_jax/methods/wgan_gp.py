"""Wasserstein GAN with gradient penalty as f-AnoGAN trains it: a critic's step every batch, a generator's every few."""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import optax
from jax import lax
from jaxtyping import Bool, Float, Int32, Key

from gnl_jax.array_types import Array
from gnl_jax.methods.losses import masked_mean
from gnl_jax.nn.batch_norm import fold_statistics
from gnl_jax.nn.gan import LATENT, Networks

PyTree = Any
NOISE_STREAM = 1  # of the random numbers of a step; 0 is initialisation


class Learner(NamedTuple):
    """A network in training."""

    params: PyTree
    batch_stats: PyTree
    opt_state: PyTree

    @property
    def variables(self) -> PyTree:
        """The network's variables as Flax takes them."""
        return {"params": self.params, "batch_stats": self.batch_stats}


class GanState(NamedTuple):
    """Everything adversarial training changes, and the length of an epoch: arrays only."""

    step: Int32[Array, ""]
    steps_per_epoch: Int32[Array, ""]
    generator: Learner
    critic: Learner


class Noise(NamedTuple):
    """The random numbers of a step on b images; those of row i follow from its position alone."""

    latent: Float[Array, "b 100"]  # standard normal
    mixing: Float[Array, "b 1 1 c"]  # uniform
    dropout: Float[Array, "4 b d"]  # uniform: of the critic's passes over real, fake, mixed and again fake images


def init_learner(key: Array, module: nn.Module, example: Array, tx: optax.GradientTransformation) -> Learner:
    """A fresh network that takes arrays like `example`, and its optimiser's state."""
    variables = module.init(key, example)
    return Learner(variables["params"], variables.get("batch_stats", {}), tx.init(variables["params"]))


def init_gan(key: Array, *, networks: Networks, tx: optax.GradientTransformation, steps_per_epoch: int) -> GanState:
    """Fresh generator and critic; `steps_per_epoch` batches pass before the count of batches begins anew."""

    def init(key: Array) -> GanState:
        latent = jnp.zeros((1, LATENT))
        images = jnp.zeros((1, networks.size, networks.size, networks.channels))
        generator = init_learner(jax.random.fold_in(key, 0), networks.generator, latent, tx)
        critic = init_learner(jax.random.fold_in(key, 1), networks.critic, images, tx)
        return GanState(jnp.int32(0), jnp.int32(steps_per_epoch), generator, critic)

    return jax.jit(init)(key)


def training_pass(module: nn.Module, params: PyTree, batch_stats: PyTree, *inputs: Array) -> tuple[Any, PyTree]:
    """`module` in training mode -> (its result, the statistics of this batch for each BatchNorm)."""
    result, updates = module.apply({"params": params, "batch_stats": batch_stats}, *inputs, mutable=["statistics"])
    return result, updates.get("statistics", {})


def update(learner: Learner, gradients: PyTree, statistics: PyTree, *, tx: optax.GradientTransformation) -> Learner:
    """One optimiser step, and the statistics [v c] of v training passes folded in, in their order."""
    updates, opt_state = tx.update(gradients, learner.opt_state, learner.params)
    params = optax.apply_updates(learner.params, updates)
    return Learner(params, fold_statistics(learner.batch_stats, statistics), opt_state)


def gradient_penalty(
    critic: Callable[[Array], tuple[Array, PyTree]], x: Float[Array, "b s s c"], valid: Bool[Array, "b"]
) -> tuple[Float[Array, "b"], PyTree]:
    """(||gradient of the critic at x|| - 1)^2 of each image, and the critic's second result.

    critic: x -> (validity [b], anything). The gradient is that of the sum over the valid rows: through batch
    statistics an image's gradient holds its influence on the others, as in the published code. The norm's own gradient
    is zero where it is zero, as torch's.
    """

    def total(x: Array) -> tuple[Array, PyTree]:
        validity, rest = critic(x)
        return jnp.sum(jnp.where(valid, validity, 0)), rest

    gradient, rest = jax.grad(total, has_aux=True)(x)
    square = jnp.sum(jnp.square(gradient), axis=(1, 2, 3))
    norm = jnp.where(square > 0, jnp.sqrt(jnp.where(square > 0, square, 1)), 0)
    return jnp.square(norm - 1), rest


def critic_loss(
    params: PyTree,
    batch_stats: PyTree,
    real: Float[Array, "b s s c"],
    fake: Float[Array, "b s s c"],
    noise: Noise,
    valid: Bool[Array, "b"],
    *,
    critic: nn.Module,
    weight: float,
) -> tuple[Array, tuple[dict[str, Array], PyTree]]:
    """-mean D(real) + mean D(fake) + weight * mean penalty, at a point between each real and fake image.

    Returns (loss, (the loss and its parts, statistics [3 c] of the passes over real, fake and mixed images, in the
    published order)). Published code: the point is drawn per image and per channel.
    """

    def score(x: Array, dropout: Array) -> tuple[Array, PyTree]:
        (validity, _), statistics = training_pass(critic, params, batch_stats, x, valid, dropout)
        return validity, statistics

    # One pass over both, each normalised by its own statistics as in two.
    validity, apart = jax.vmap(score)(jnp.stack([real, fake]), noise.dropout[:2])
    mixed = noise.mixing * real + (1 - noise.mixing) * fake
    penalties, between = gradient_penalty(lambda x: score(x, noise.dropout[2]), mixed, valid)
    parts = {
        "real": masked_mean(validity[0], valid),
        "fake": masked_mean(validity[1], valid),
        "penalty": masked_mean(penalties, valid),
    }
    loss = -parts["real"] + parts["fake"] + weight * parts["penalty"]
    statistics = jax.tree.map(lambda a, b: jnp.concatenate([a, b[None]]), apart, between)
    return loss, ({"loss": loss, **parts}, statistics)


def generator_turn(
    generator: Learner,
    critic: Learner,
    *,
    noise: Noise,
    valid: Bool[Array, "b"],
    networks: Networks,
    tx: optax.GradientTransformation,
) -> tuple[Learner, Learner]:
    """The generator's step on -mean D(G(z)); the critic's statistics have seen one batch more after it."""

    def objective(params: PyTree) -> tuple[Array, tuple[PyTree, PyTree]]:
        fake, moved = training_pass(networks.generator, params, generator.batch_stats, noise.latent, valid)
        inputs = (fake, valid, noise.dropout[3])
        (validity, _), seen = training_pass(networks.critic, critic.params, critic.batch_stats, *inputs)
        return -masked_mean(validity, valid), (moved, seen)

    gradients, (moved, seen) = jax.grad(objective, has_aux=True)(generator.params)
    return update(generator, gradients, _one(moved), tx=tx), _after(critic, seen)


def gan_step(
    key: Key[Array, ""],
    state: GanState,
    real: Float[Array, "b s s c"],
    valid: Bool[Array, "b"],
    *,
    networks: Networks,
    tx: optax.GradientTransformation,
    weight: float,
    critic_steps: int,
) -> tuple[GanState, dict[str, Float[Array, ""]]]:
    """The critic's step on a batch, then, on every `critic_steps`-th batch of an epoch from its first, the generator's.

    key: the run's key (the step is folded in here); real in [-1, 1]; `weight` of the penalty.
    -> (state, {"loss", "real", "fake", "penalty"}). Rows that are not valid change nothing. Both networks are
    in training mode throughout: the generator's statistics move with every pass, so twice on its own turn, and the
    critic's with each of its three or four. The turn takes the same z and the stepped critic.
    """
    key = jax.random.fold_in(jax.random.fold_in(key, NOISE_STREAM), state.step)
    noise = draw_noise(key, real.shape[0], networks=networks)
    fake, moved = training_pass(networks.generator, *state.generator[:2], noise.latent, valid)
    objective = jax.grad(critic_loss, has_aux=True)
    gradients, (metrics, statistics) = objective(
        *state.critic[:2], real, fake, noise, valid, critic=networks.critic, weight=weight
    )
    critic = update(state.critic, gradients, statistics, tx=tx)
    generator = _after(state.generator, moved)

    turn = state.step % state.steps_per_epoch % critic_steps == 0
    take = functools.partial(generator_turn, noise=noise, valid=valid, networks=networks, tx=tx)
    generator, critic = _on_turn(turn, take, (generator, critic), networks=networks)
    return GanState(state.step + 1, state.steps_per_epoch, generator, critic), metrics


def draw_noise(key: Key[Array, ""], rows: int, *, networks: Networks) -> Noise:
    """The random numbers of a step for so many rows."""

    def draw(row: Array) -> tuple[Array, Array, Array]:
        latent, mixing, dropout = jax.random.split(jax.random.fold_in(key, row), 3)
        return (
            jax.random.normal(latent, (LATENT,)),
            jax.random.uniform(mixing, (1, 1, networks.channels)),
            jax.random.uniform(dropout, (4, networks.critic.trunk.drops)),
        )

    return Noise(*jax.vmap(draw, out_axes=(0, 0, 1))(jnp.arange(rows)))


def _on_turn(turn: Array, take: Callable, learners: tuple[Learner, Learner], *, networks: Networks):
    """`take(*learners)` if it is their turn, else the learners as they are.

    A condition spares the other batches the work. Not so for convolutions on a CPU, which leave XLA's fast path inside
    one. Measured on a 2-core CPU at 32 pixels, batch 8, in seconds of processor time: a step with the generator's turn
    2.7 with a condition, 0.15 when its result is computed always and chosen; a step without it 0.05 and 0.15.
    """

    def choose(turn, *learners):
        return jax.tree.map(functools.partial(jnp.where, turn), take(*learners), learners)

    def condition(turn, *learners):
        return lax.cond(turn, take, lambda *learners: learners, *learners)

    if not networks.convolutional:
        return condition(turn, *learners)
    return lax.platform_dependent(turn, *learners, cpu=choose, default=condition)


def _one(statistics: PyTree) -> PyTree:
    return jax.tree.map(lambda s: s[None], statistics)


def _after(learner: Learner, statistics: PyTree) -> Learner:
    """The same weights, one training pass later."""
    return learner._replace(batch_stats=fold_statistics(learner.batch_stats, _one(statistics)))
