"""Generators, critics and encoders against NumPy; sizes, parameter counts and initialisation by hand."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import numpy_gan
import pytest
from numpy_gan import random_variables, shapes

from gnl_jax.nn.gan import EPSILONS, NETWORKS
from gnl_jax.nn.layers import torch_uniform

RNG = np.random.default_rng(0)
KINDS = {"dense": 28, "convolutional": 32}


def count(variables):
    return sum(leaf.size for leaf in jax.tree.leaves(variables["params"]))


def linear(inputs, outputs):
    return inputs * outputs + outputs


def conv(inputs, outputs):
    return 9 * inputs * outputs + outputs


def test_parameters_of_the_dense_networks():
    layers = linear(100, 128) + linear(128, 256) + linear(256, 512) + linear(512, 1024) + linear(1024, 784)
    trunk = linear(784, 512) + linear(512, 256)
    wanted = [layers + 2 * (256 + 512 + 1024), trunk + linear(256, 1), trunk + linear(256, 100)]
    assert wanted == [1_510_032, 533_505, 558_948]
    assert [count(v) for v in shapes(NETWORKS["dense"](28, epsilon=0.8))] == wanted


@pytest.mark.parametrize(
    ("size", "start", "features", "total"),
    [(64, 16, 128 * 4 * 4, [3_533_315, 99_937, 302_788]), (32, 8, 128 * 2 * 2, [1_051_139, 98_401, 149_188])],
)
def test_parameters_of_the_convolutional_networks(size, start, features, total):
    norms = 2 * (128 + 128 + 64)
    generator = linear(100, 128 * start**2) + conv(128, 128) + conv(128, 64) + conv(64, 3) + norms
    trunk = conv(3, 16) + conv(16, 32) + conv(32, 64) + conv(64, 128) + 2 * (32 + 64 + 128)
    wanted = [generator, trunk + linear(features, 1), trunk + linear(features, 100)]
    assert wanted == total
    assert [count(v) for v in shapes(NETWORKS["convolutional"](size, epsilon=0.8))] == wanted


@pytest.fixture(scope="module", params=KINDS)
def pair(request):
    """Networks in float64, with their variables, three latents and three images."""
    size = KINDS[request.param]
    networks = NETWORKS[request.param](size, epsilon=0.8, dtype=jnp.float64)
    z, x = RNG.standard_normal((3, 100)), RNG.uniform(-1, 1, (3, size, size, networks.channels))
    return networks, random_variables(NETWORKS[request.param](size, epsilon=0.8)), z, x


def numpy_features(networks, variables, x, **mode):
    params, stored = variables["params"]["trunk"], variables.get("batch_stats", {}).get("trunk")
    if not networks.convolutional:
        return numpy_gan.dense_trunk(params, x)
    return numpy_gan.convolutional_trunk({"params": params, "batch_stats": stored}, x, 0.8, **mode)


def numpy_images(networks, variables, z, **mode):
    if not networks.convolutional:
        return numpy_gan.dense_generator(variables, z, 0.8, **mode)
    return numpy_gan.convolutional_generator(variables, z, 0.8, size=networks.size, **mode)


def test_networks_equal_numpy_in_evaluation(pair):
    networks, (generator, critic, encoder), z, x = pair

    @jax.jit
    def run(generator, critic, encoder, z, x):
        results = networks.critic.apply(critic, x), networks.encoder.apply(encoder, x)
        return networks.generator.apply(generator, z), *results

    with jax.enable_x64(True):
        images, (validity, features), latent = run(generator, critic, encoder, z, x)
    np.testing.assert_allclose(images, numpy_images(networks, generator, z), atol=1e-12)
    wanted = numpy_features(networks, critic, x)
    np.testing.assert_allclose(features, wanted, atol=1e-12)
    np.testing.assert_allclose(validity, numpy_gan.linear(critic["params"]["head"], wanted)[:, 0], atol=1e-12)
    wanted = np.tanh(numpy_gan.linear(encoder["params"]["head"], numpy_features(networks, encoder, x)))
    np.testing.assert_allclose(latent, wanted, atol=1e-12)


def test_networks_equal_numpy_in_training(pair):
    """Batch statistics, and dropout of whole channels in the place published: before the norm."""
    networks, (generator, critic, _), z, x = pair
    noise = RNG.uniform(0, 1, (3, networks.critic.trunk.drops))

    @jax.jit
    def run(generator, critic, z, x, noise):
        valid = jnp.ones(3, bool)
        images, _ = networks.generator.apply(generator, z, valid, mutable=["statistics"])
        (_, features), _ = networks.critic.apply(critic, x, valid, noise, mutable=["statistics"])
        return images, features

    with jax.enable_x64(True):
        images, features = run(generator, critic, z, x, noise)
    np.testing.assert_allclose(images, numpy_images(networks, generator, z, train=True), atol=1e-11)
    kept = np.split(noise >= 0.25, [16, 16 + 32, 16 + 32 + 64], axis=1)
    np.testing.assert_allclose(features, numpy_features(networks, critic, x, kept=kept), atol=1e-11)


@pytest.mark.slow
def test_bfloat16_products_give_float32_results_nearby():
    networks = NETWORKS["convolutional"](32, epsilon=0.8, dtype=jnp.bfloat16)
    generator, _, encoder = random_variables(networks)
    x = RNG.uniform(-1, 1, (2, 32, 32, 3))

    @jax.jit
    def run(generator, encoder, x):
        z = networks.encoder.apply(encoder, x)
        return z, networks.generator.apply(generator, z)

    z, images = run(*jax.tree.map(np.float32, (generator, encoder, x)))
    wanted = np.tanh(numpy_gan.linear(encoder["params"]["head"], numpy_features(networks, encoder, x)))
    for got, exact in ((z, wanted), (images, numpy_images(networks, generator, np.float64(z)))):
        assert got.dtype == jnp.float32
        assert 1e-4 < np.linalg.norm(got - exact) / np.linalg.norm(exact) < 0.1


def test_epsilons():
    assert EPSILONS == {"published": 0.8, "torch": 1e-5}


def test_initialisation_is_torchs():
    key = jax.random.key(0, impl="rbg")
    kernel = torch_uniform(key, (3, 3, 16, 64))
    np.testing.assert_array_equal(torch_uniform(key, kernel.shape, fan_in=9 * 16), kernel)  # as a bias is given it
    assert 0.999 / 12 < kernel.max() <= 1 / 12
    assert -1 / 12 <= kernel.min() < -0.999 / 12
    np.testing.assert_allclose(kernel.std(), 1 / 12 / np.sqrt(3), rtol=0.02)


def test_every_layer_is_initialised_by_its_own_inputs():
    networks = NETWORKS["convolutional"](32, epsilon=0.8)

    variables = jax.jit(networks.critic.init)(jax.random.key(0, impl="rbg"), jnp.zeros((1, 32, 32, 3)))
    layers = {}
    for path, leaf in jax.tree_util.tree_flatten_with_path(variables["params"])[0]:
        layers.setdefault(jax.tree_util.keystr(path[:-1]), {})[path[-1].key] = np.asarray(leaf)
    assert len(layers) == 4 + 3 + 1
    for name, layer in layers.items():
        if "scale" in layer:
            assert (layer["scale"] == 1).all(), name
            assert (layer["bias"] == 0).all(), name
            continue
        bound = 1 / np.sqrt(np.prod(layer["kernel"].shape[:-1]))
        assert 0.85 * bound < np.abs(layer["kernel"]).max() <= bound, name
        assert 0.2 * bound < np.abs(layer["bias"]).max() <= bound or layer["bias"].size == 1, name


@pytest.mark.parametrize(
    ("kind", "size", "message"),
    [
        ("dense", 32, "dataset.size: got 32, expected 28 for the network 'dense'"),
        ("convolutional", 40, "dataset.size: got 40, expected a multiple of 16, 32 or more, for the network 'conv"),
        ("convolutional", 16, "dataset.size: got 16, expected a multiple of 16, 32 or more, for the network 'conv"),
    ],
)
def test_wrong_sizes(kind, size, message):
    with pytest.raises(ValueError, match="^" + re.escape(message)):
        NETWORKS[kind](size, epsilon=0.8)
