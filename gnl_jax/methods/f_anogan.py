"""f-AnoGAN: a generative adversarial network of normal images, then an encoder into its latent space.

An image is anomalous as far as the generator cannot reproduce it from its encoding, in pixels and in the critic's
features. The first phase is `methods/wgan_gp.py`; the second trains the encoder on the same distance ("izi_f").
"""

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Bool, Float, Int32, Key, UInt8
from ml_collections import ConfigDict

from gnl_jax.array_types import Array
from gnl_jax.batches import steps_per_epoch
from gnl_jax.images.pillow import luma
from gnl_jax.methods.base import Method, Phase, Prediction
from gnl_jax.methods.choices import PRECISIONS, choose
from gnl_jax.methods.losses import masked_mean
from gnl_jax.methods.wgan_gp import Learner, gan_step, init_gan, init_learner, training_pass, update
from gnl_jax.nn.apply import outputs
from gnl_jax.nn.gan import EPSILONS, NETWORKS, Networks

PyTree = Any
# Random streams; 1 belongs to the adversarial steps.
INIT_STREAM, DROPOUT_STREAM, GAN_FLIP_STREAM, ENCODER_FLIP_STREAM = 0, 2, 3, 4


class EncoderState(NamedTuple):
    """What the second phase trains, and the variables of the first one's networks, which stay as they are."""

    step: Int32[Array, ""]
    generator: PyTree
    critic: PyTree
    encoder: Learner


def preprocess(images: UInt8[Array, "b s s 3"], *, networks: Networks) -> Float[Array, "b s s {networks.channels}"]:
    """Images as the networks take them, in [-1, 1], grey by Pillow's "L" where these have one channel."""
    if networks.channels == 1:
        images = luma(images)[..., None]
    dtype = jnp.promote_types(networks.generator.dtype, jnp.float32)
    return (images.astype(dtype) / 255 - 0.5) / 0.5


def mirror(key: Key[Array, ""], images: Float[Array, "b h w c"]) -> Float[Array, "b h w c"]:
    """Each image, left and right exchanged with probability a half; image i follows from key and i.

    Published code: the test script mirrors at random, too; here a score is a function of the image.
    """
    coins = jax.vmap(lambda row: jax.random.bernoulli(jax.random.fold_in(key, row)))(jnp.arange(images.shape[0]))
    return jnp.where(coins[:, None, None, None], images[:, :, ::-1], images)


def reconstruction_distances(
    x: Float[Array, "b s s c"], z: Float[Array, "b 100"], *, generator: PyTree, critic: PyTree, networks: Networks
) -> tuple[Float[Array, "b s s c"], Float[Array, "b f"]]:
    """Squared differences of images x and G(z): per pixel, and per critic feature.

    Generator and critic, given as variables, are in evaluation mode.
    """
    reconstruction = outputs(networks.generator, generator, z)
    _, features = outputs(networks.critic, critic, x)
    _, reconstructed = outputs(networks.critic, critic, reconstruction)
    return jnp.square(reconstruction - x), jnp.square(reconstructed - features)


def encoder_step(
    key: Key[Array, ""],
    state: EncoderState,
    x: Float[Array, "b s s c"],
    valid: Bool[Array, "b"],
    *,
    networks: Networks,
    tx: optax.GradientTransformation,
    feature_weight: float,
) -> tuple[EncoderState, dict[str, Float[Array, ""]]]:
    """One optimiser step of MSE(G(E(x)), x) + kappa MSE(f(G(E(x))), f(x)) on the encoder alone.

    key: the run's key (the step is folded in here); x in [-1, 1]; rows that are not valid change nothing.
    -> (state, {"loss", "image", "feature"}).
    """
    key = jax.random.fold_in(jax.random.fold_in(key, DROPOUT_STREAM), state.step)
    drops = networks.encoder.trunk.drops
    noise = jax.vmap(lambda row: jax.random.uniform(jax.random.fold_in(key, row), (drops,)))(jnp.arange(x.shape[0]))

    def objective(params: PyTree) -> tuple[Array, tuple[dict[str, Array], PyTree]]:
        z, statistics = training_pass(networks.encoder, params, state.encoder.batch_stats, x, valid, noise)
        pixels, features = reconstruction_distances(
            x, z, generator=state.generator, critic=state.critic, networks=networks
        )
        image = masked_mean(pixels.mean((1, 2, 3)), valid)
        feature = masked_mean(features.mean(1), valid)
        loss = image + feature_weight * feature
        return loss, ({"loss": loss, "image": image, "feature": feature}, statistics)

    gradients, (metrics, statistics) = jax.grad(objective, has_aux=True)(state.encoder.params)
    encoder = update(state.encoder, gradients, jax.tree.map(lambda s: s[None], statistics), tx=tx)
    return state._replace(step=state.step + 1, encoder=encoder), metrics


def score_batch(
    variables: PyTree, images: UInt8[Array, "b s s 3"], *, networks: Networks, feature_weight: float
) -> Prediction[Array]:
    """The score is MSE of the pixels + kappa MSE of the critic's features; there is a map.

    variables: those of "generator", "critic" and "encoder". Everything is in evaluation mode: rows do not influence
    each other. The map is a pixel's squared difference, the mean over channels.
    """
    x = preprocess(images, networks=networks)
    z = outputs(networks.encoder, variables["encoder"], x)
    pixels, features = reconstruction_distances(
        x, z, generator=variables["generator"], critic=variables["critic"], networks=networks
    )
    return Prediction(pixels.mean((1, 2, 3)) + feature_weight * features.mean(1), pixels.mean(3))


def build_f_anogan(config: ConfigDict, *, frozen: PyTree | None = None) -> Method:
    """f-AnoGAN as `config.method.f_anogan` and `config.train` describe it, in phases "wgan_gp" and "encoder".

    Nothing is frozen from the start: `frozen` is {} whatever is given. Raises ValueError naming a field and what it may
    be.
    """
    options = config.method.f_anogan
    _check(options)
    dtype, _ = choose(PRECISIONS, config.precision, "precision")
    make_networks = choose(NETWORKS, options.network, "method.f_anogan.network")
    epsilon = choose(EPSILONS, options.batch_norm_epsilon, "method.f_anogan.batch_norm_epsilon")
    networks = make_networks(config.dataset.size, epsilon=epsilon, dtype=dtype)
    # torch.optim.Adam: epsilon outside the root.
    tx = optax.adam(config.train.learning_rate, b1=config.train.beta1, b2=config.train.beta2, eps=1e-8)
    batch_size = config.train.batch_size
    # The dense generator normalises vectors: over one image, single values. The dense encoder normalises nothing.
    min_valid = 1 if networks.convolutional else 2

    def learn(images: Array, key: Array, stream: int, step: Array) -> Array:
        x = preprocess(images, networks=networks)
        return mirror(jax.random.fold_in(jax.random.fold_in(key, stream), step), x) if options.flip else x

    def init_first(key: Array, previous: PyTree, images) -> PyTree:
        n = 0 if images is None else len(images)  # without images only shapes are asked for
        steps = steps_per_epoch(n, batch_size=batch_size, min_valid=min_valid)
        return init_gan(jax.random.fold_in(key, INIT_STREAM), networks=networks, tx=tx, steps_per_epoch=steps)

    def first_step(key, state, frozen, images, valid, features):
        real = learn(images, key, GAN_FLIP_STREAM, state.step)
        weights = {"weight": options.gradient_penalty, "critic_steps": options.critic_steps}
        return gan_step(key, state, real, valid, networks=networks, tx=tx, **weights)

    def init_second(key: Array, previous: PyTree, images) -> EncoderState:
        gan = init_first(key, None, images) if previous is None else previous
        key = jax.random.fold_in(jax.random.fold_in(key, INIT_STREAM), 2)  # 0 and 1 are generator and critic
        example = jnp.zeros((1, networks.size, networks.size, networks.channels))
        encoder = jax.jit(lambda key: init_learner(key, networks.encoder, example, tx))(key)
        return EncoderState(jnp.int32(0), gan.generator.variables, gan.critic.variables, encoder)

    def second_step(key, state, frozen, images, valid, features):
        x = learn(images, key, ENCODER_FLIP_STREAM, state.step)
        return encoder_step(key, state, x, valid, networks=networks, tx=tx, feature_weight=options.feature_weight)

    def finish(frozen: PyTree, state: EncoderState, images) -> PyTree:
        return {"generator": state.generator, "critic": state.critic, "encoder": state.encoder.variables}

    first = Phase("wgan_gp", config.train.epochs, batch_size, init_first, first_step, min_valid)
    second = Phase("encoder", options.encoder_epochs, batch_size, init_second, second_step)
    score = functools.partial(score_batch, networks=networks, feature_weight=options.feature_weight)
    return Method(config.method.name, {}, (first, second), finish, score)


def _check(options: ConfigDict) -> None:
    for field, least in (("encoder_epochs", 1), ("critic_steps", 1), ("gradient_penalty", 0), ("feature_weight", 0)):
        if not least <= options[field] < float("inf"):
            raise ValueError(f"method.f_anogan.{field}: got {options[field]}, expected {least} or more")
