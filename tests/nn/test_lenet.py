"""The LeNets against their layers written out in NumPy, sizes against the published ones, initialisations."""

import itertools

import jax
import numpy as np
import pytest

from gnl_jax.nn.layers import torch_uniform, upsample_2x
from gnl_jax.nn.lenet import LENETS, ConvTranspose5x5, max_pool_2x2, xavier_leaky

RNG = np.random.default_rng(0)
BATCH_NORMS = {"mnist": ("bn1", "bn2", "bn3", "bn4"), "cifar10": ("bn1", "bn2", "bn3", "bn1d", "bn4", "bn5", "bn6")}


def shapes(name):
    network = LENETS[name]
    x = jax.ShapeDtypeStruct((1, network.size, network.size, network.channels), np.float32)
    return jax.eval_shape(network.autoencoder.init, jax.random.key(0), x)


def random_variables(name):
    """Kernels as large as at the start, and running statistics as after some training; float64."""
    variables = shapes(name)
    params = jax.tree.map(lambda p: RNG.standard_normal(p.shape) / np.sqrt(np.prod(p.shape[:-1])), variables["params"])
    return {
        "params": params,
        "batch_stats": jax.tree.map(lambda s: RNG.uniform(0.5, 2, s.shape), variables["batch_stats"]),
    }


class Reference:
    """The published forward passes in NumPy, images [b c h w] as in torch; `statistics` None: stored ones are used."""

    def __init__(self, variables, *, train):
        self.variables, self.statistics = variables, {} if train else None

    def part(self, name):
        self.params, self.stored = (self.variables[group][name] for group in ("params", "batch_stats"))
        return self

    def conv(self, name, x):
        kernel = self.params[name]["kernel"]
        x = np.pad(x, [(0, 0), (0, 0), (2, 2), (2, 2)])
        windows = np.lib.stride_tricks.sliding_window_view(x, (5, 5), axis=(2, 3))  # [b c h w 5 5]
        return np.einsum("bchwij,ijco->bohw", windows, kernel, optimize=True)

    def deconv(self, name, x, *, padding=2):
        """Every pixel adds the kernel, times its value, around its place; then the padding is cut off."""
        kernel = self.params[name]["kernel"]
        b, _, h, w = x.shape
        y = np.zeros((b, kernel.shape[-1], h + 4, w + 4))
        for i, j in itertools.product(range(5), repeat=2):
            y[:, :, i : i + h, j : j + w] += np.einsum("bchw,co->bohw", x, kernel[i, j], optimize=True)
        return y[:, :, padding : h + 4 - padding, padding : w + 4 - padding]

    def norm(self, name, x):
        axes = (0, *range(2, x.ndim))
        shape = (1, -1) + (1,) * (x.ndim - 2)
        mean, var = self.stored[name]["mean"], self.stored[name]["var"]
        if self.statistics is not None:
            mean, var = x.mean(axes), x.var(axes)
            self.statistics[name] = {"mean": mean, "var": x.var(axes, ddof=1)}
        return (x - mean.reshape(shape)) / np.sqrt(var.reshape(shape) + 1e-4)

    def encode(self, x, layers):
        for i in range(1, layers + 1):
            x = leaky(self.norm(f"bn{i}", self.conv(f"conv{i}", x)))
            b, c, h, w = x.shape
            x = x.reshape(b, c, h // 2, 2, w // 2, 2).max((3, 5))
        return x.reshape(len(x), -1) @ self.params["fc1"]["kernel"]

    def decode_mnist(self, z):
        x = self.deconv("deconv1", up(leaky(z.reshape(-1, 2, 4, 4))))
        x = self.deconv("deconv2", up(leaky(self.norm("bn3", x))), padding=3)
        return sigmoid(self.deconv("deconv3", up(leaky(self.norm("bn4", x)))))

    def decode_cifar10(self, z):
        x = self.deconv("deconv1", leaky(self.norm("bn1d", z).reshape(-1, 8, 4, 4)))
        x = self.deconv("deconv2", up(leaky(self.norm("bn4", x))))
        x = self.deconv("deconv3", up(leaky(self.norm("bn5", x))))
        return sigmoid(self.deconv("deconv4", up(leaky(self.norm("bn6", x)))))


def leaky(x):
    return np.where(x > 0, x, 0.01 * x)


def up(x):
    return x.repeat(2, axis=2).repeat(2, axis=3)


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def check_network(name, *, train):
    network, variables = LENETS[name], random_variables(name)
    x = RNG.uniform(0, 1, (4, network.size, network.size, network.channels))
    valid = np.array([True, False, True, True]) if train else None

    @jax.jit
    def run(variables, x, valid):
        encoder = {group: tree["encoder"] for group, tree in variables.items()}
        z, _ = network.encoder.apply(encoder, x, valid, mutable=["statistics"])
        y, updates = network.autoencoder.apply(variables, x, valid, mutable=["statistics"])
        return z, y, updates.get("statistics", {})

    with jax.enable_x64(True):
        z, y, statistics = run(variables, x, valid)
    assert y.dtype == z.dtype == np.float64
    assert y.shape == x.shape
    rows = valid if train else np.ones(4, bool)
    reference = Reference(variables, train=train)
    code = reference.part("encoder").encode(x[rows].transpose(0, 3, 1, 2), len(network.encoder.convolutions))
    image = getattr(reference.part("decoder"), f"decode_{name}")(code)
    np.testing.assert_allclose(z[rows], code, atol=1e-11)
    np.testing.assert_allclose(y[rows], image.transpose(0, 2, 3, 1), atol=1e-11)
    flat = statistics.get("encoder", {}) | statistics.get("decoder", {})
    assert set(flat) == (set(BATCH_NORMS[name]) if train else set())
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-12), flat, reference.statistics or {})


@pytest.mark.parametrize("train", [True, False], ids=["batch statistics of valid rows", "stored statistics"])
@pytest.mark.parametrize("name", ["mnist", pytest.param("cifar10", marks=pytest.mark.slow)])
def test_networks_equal_their_layers_written_out(name, train):
    check_network(name, train=train)


@pytest.mark.parametrize(("name", "encoder", "decoder"), [("mnist", 7_272, 1_200), ("cifar10", 520_544, 284_000)])
def test_published_numbers_of_weights(name, encoder, decoder):
    params = shapes(name)["params"]
    sizes = {part: sum(leaf.size for leaf in jax.tree.leaves(params[part])) for part in params}
    assert sizes == {"encoder": encoder, "decoder": decoder}
    names = {path[-1].key for path, _ in jax.tree_util.tree_leaves_with_path(params)}
    assert names == {"kernel"}  # neither biases nor scales


@pytest.mark.parametrize("padding", [2, 3])
def test_conv_transpose_by_its_definition(padding):
    x, kernel = RNG.standard_normal((2, 5, 6, 3)), RNG.standard_normal((5, 5, 3, 2))
    full = np.zeros((2, 9, 10, 2))
    for i, j in itertools.product(range(5), range(6)):
        full[:, i : i + 5, j : j + 5] += np.einsum("bc,adco->bado", x[:, i, j], kernel)
    expected = full[:, padding : 9 - padding, padding : 10 - padding]
    with jax.enable_x64(True):
        got = ConvTranspose5x5(2, padding=padding).apply({"params": {"kernel": kernel}}, x)
    np.testing.assert_allclose(got, expected, atol=1e-12)


def test_max_pool_takes_the_largest_and_its_gradient_goes_to_the_first_of_them():
    x = np.float32([[1, 2, 0, 0], [3, 0, 0, 0], [5, 1, -4, -1], [5, 5, -1, -1]]).reshape(1, 4, 4, 1)
    value, pullback = jax.vjp(max_pool_2x2, x)
    (gradient,) = pullback(np.float32([[10, 20], [30, 40]]).reshape(1, 2, 2, 1))
    np.testing.assert_array_equal(value[0, ..., 0], [[3, 0], [5, -1]])
    expected = [[0, 0, 20, 0], [10, 0, 0, 0], [30, 0, 0, 40], [0, 0, 0, 0]]
    np.testing.assert_array_equal(gradient[0, ..., 0], expected)


@pytest.mark.parametrize("place", [(0, 0), (0, 1), (1, 0), (1, 1)])
def test_max_pool_keeps_a_nan(place):
    x = np.ones((1, 2, 2, 1), np.float32)
    x[0, *place, 0] = np.nan
    assert np.isnan(max_pool_2x2(x)).all()


def test_upsample_repeats_pixels():
    x = RNG.standard_normal((2, 3, 4, 5)).astype(np.float32)
    np.testing.assert_array_equal(upsample_2x(x), np.kron(x, np.ones((1, 2, 2, 1), np.float32)))


def uniform_bound(kernel):
    """The bound b of U(-b, b) that a kernel was drawn from: its largest value, with the spread that belongs to it."""
    bound = float(np.abs(kernel).max())
    np.testing.assert_allclose(kernel.std(), bound / np.sqrt(3), rtol=2.5 / np.sqrt(kernel.size))  # 5 sigma
    return bound


@pytest.mark.slow
def test_initialisations_are_torchs():
    """Default: 1/sqrt(fan in), for transposed convolutions 1/sqrt(25 outputs); Xavier: gain sqrt(6 / (in + out))."""
    key, gain = jax.random.key(0, impl="rbg"), np.sqrt(2 / (1 + 0.01**2))

    def bounds(name):
        x = np.zeros((1, LENETS[name].size, LENETS[name].size, LENETS[name].channels), np.float32)
        params = jax.jit(LENETS[name].autoencoder.init)(key, x)["params"]
        kernels = params["encoder"] | params["decoder"]
        return {layer: uniform_bound(kernel["kernel"]) for layer, kernel in kernels.items()}

    mnist, cifar = bounds("mnist"), bounds("cifar10")
    expected = {"conv1": 25, "conv2": 25 * 8, "fc1": 4 * 49, "deconv1": 25 * 4, "deconv2": 25 * 8, "deconv3": 25}
    assert mnist == pytest.approx({layer: 1 / np.sqrt(fan) for layer, fan in expected.items()}, rel=0.03)
    channels = {"conv1": 35, "conv2": 96, "conv3": 192, "deconv1": 136, "deconv2": 192, "deconv3": 96, "deconv4": 35}
    expected = {layer: gain * np.sqrt(6 / (25 * both)) for layer, both in channels.items()}
    assert cifar == pytest.approx(expected | {"fc1": 1 / np.sqrt(128 * 16)}, rel=0.01)
    for init in (torch_uniform, xavier_leaky):
        with jax.enable_x64(True):
            assert init(key, (5, 5, 2, 3)).dtype == np.float32
