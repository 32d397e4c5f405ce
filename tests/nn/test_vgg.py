"""VGG-16 and its cloner: against the layers written out with SciPy, and against torchvision's names and sizes."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.signal import correlate2d

from gnl_jax.nn.torch_keys import torch_shapes
from gnl_jax.nn.vgg import CLONER, VGG16, Cloner, Source, init_source

KEY = jax.random.key(0, impl="rbg")
SOURCE = Source(((3, 2), (3, 4), (2,), (4, 3, 2), (2, 3)))
CLONER_ = Cloner(((2, 3), (2, 4), (2, 2, 2), (2,), (3, 3)))
IMAGES = np.random.default_rng(0).standard_normal((3, 32, 32, 3))


def shapes(module, size=32):
    return jax.eval_shape(module.init, KEY, jax.ShapeDtypeStruct((1, size, size, 3), jnp.float32))


def count(params):
    return sum(leaf.size for leaf in jax.tree.leaves(params))


def test_published_numbers_of_parameters():
    assert count(shapes(Source())["params"]) == 14_714_688
    assert count(shapes(Cloner())["params"]) == 343_984
    assert "batch_stats" not in shapes(Source())


@pytest.mark.parametrize("size", [32, 96])
def test_the_cloner_gives_what_the_source_gives(size):
    images = jax.ShapeDtypeStruct((2, size, size, 3), jnp.float32)
    for module in (Source(), Cloner()):
        taps, _ = jax.eval_shape(module.init_with_output, KEY, images)
        assert [tap.shape for tap in taps] == [
            (2, size // 2**k, size // 2**k, channels) for k, channels in ((2, 128), (3, 256), (4, 512), (5, 512))
        ]


def test_names_and_shapes_are_torchvisions():
    widths = [3, 64, 64, 128, 128, *[256] * 3, *[512] * 6]
    places = (0, 2, 5, 7, 10, 12, 14, 17, 19, 21, 24, 26, 28)  # in torchvision's vgg16().features
    expected = {}
    for place, c, o in zip(places, widths[:-1], widths[1:], strict=True):
        expected |= {f"features.{place}.weight": (o, c, 3, 3), f"features.{place}.bias": (o,)}
    assert torch_shapes(shapes(Source())) == expected


@pytest.mark.slow
def test_initialisation_of_the_source_is_torchvisions():
    """Kaiming normal by fan-out; four standard errors around the standard deviation."""
    source = Source(((64,), (32, 8), (96,), (16,), (128,)))
    for layer in jax.jit(source.init)(KEY, jnp.zeros((1, 32, 32, 3)))["params"].values():
        kernel = np.asarray(layer["kernel"])
        expected = np.sqrt(2 / (9 * kernel.shape[3]))
        assert abs(kernel.std() / expected - 1) < 4 / np.sqrt(2 * kernel.size)
        assert not np.any(layer["bias"])
        assert np.abs(kernel).max() > 2.5 * expected  # a normal's tails
    assert jax.eval_shape(init_source, KEY) == shapes(Source())


@pytest.mark.slow
def test_initialisation_of_the_cloner_is_xavier_uniform():
    variables = jax.jit(Cloner().init)(KEY, jnp.zeros((1, 32, 32, 3)))
    for name, layer in variables["params"].items():
        if name.startswith("bn"):
            assert np.all(layer["scale"] == 1)
            assert not np.any(layer["bias"])
        else:
            kernel = np.asarray(layer["kernel"])
            bound = np.sqrt(6 / (9 * (kernel.shape[2] + kernel.shape[3])))
            assert 0.98 * bound < np.abs(kernel).max() <= bound
            assert abs(kernel.std() * np.sqrt(3) / bound - 1) < 0.1
            assert set(layer) == {"kernel"}


def convolved(x, kernel):
    """Zero-padded 3x3 cross-correlation, [b h w c] with [3 3 c o]."""
    outputs = [
        sum(correlate2d(image[..., c], kernel[:, :, c, o], mode="same") for c in range(kernel.shape[2]))
        for image in x
        for o in range(kernel.shape[3])
    ]
    return np.stack(outputs).reshape(len(x), kernel.shape[3], *x.shape[1:3]).transpose(0, 2, 3, 1)


def pooled(x):
    b, h, w, c = x.shape
    return x.reshape(b, h // 2, 2, w // 2, 2, c).max((2, 4))


def randomised(module):
    """Variables that no layer may ignore: no zero biases, no unit statistics."""
    rng = np.random.default_rng(1)
    return jax.tree.map(lambda leaf: rng.uniform(0.2, 0.8, leaf.shape) - 0.3 * (leaf.ndim == 4), shapes(module))


def assert_same_taps(module, variables, expected, **arguments):
    def run(variables, images):
        return module.apply(variables, images, **arguments, mutable=["statistics"])[0]

    with jax.enable_x64(True):
        taps = jax.device_get(jax.jit(run)(variables, IMAGES))
    for tap, wanted in zip(taps, expected, strict=True):
        assert np.any(tap)
        np.testing.assert_allclose(tap, wanted, rtol=1e-10, atol=1e-12)


def test_source_is_convolutions_with_bias_relu_and_pooling():
    variables, x, taps, place = randomised(SOURCE), IMAGES, [], 0
    for widths in SOURCE.stages:
        for _ in widths:
            layer = variables["params"][f"features_{place}"]
            x, place = np.maximum(convolved(x, layer["kernel"]) + layer["bias"], 0), place + 2
        x, place = pooled(x), place + 1
        taps.append(x)
    assert_same_taps(SOURCE, variables, taps[1:])


@pytest.mark.parametrize("valid", [None, np.array([True, False, True])])
def test_cloner_normalises_all_but_the_last_convolution_of_a_stage(valid):
    """By the stored statistics, or by those of the valid rows."""
    variables, x, taps = randomised(CLONER_), IMAGES, []
    for i, widths in enumerate(CLONER_.stages, start=1):
        for j in range(len(widths)):
            x = convolved(x, variables["params"][f"conv{i}_{j}"]["kernel"])
            if j < len(widths) - 1:
                norm, stored = variables["params"][f"bn{i}_{j}"], variables["batch_stats"][f"bn{i}_{j}"]
                mean, var = stored["mean"], stored["var"]
                if valid is not None:
                    mean, var = x[valid].mean((0, 1, 2)), x[valid].var((0, 1, 2))
                x = (x - mean) / np.sqrt(var + 1e-5) * norm["scale"] + norm["bias"]
            x = np.maximum(x, 0)
        x = pooled(x)
        taps.append(x)
    assert_same_taps(CLONER_, variables, taps[1:], valid=valid)


def test_stages_end_with_the_same_channels():
    assert [widths[-1] for widths in VGG16[1:]] == [widths[-1] for widths in CLONER[1:]]


@pytest.mark.parametrize("module", [Source(), Cloner()])
def test_sizes_that_do_not_halve_five_times(module):
    with pytest.raises(ValueError, match=r"images: got shape \(1, 48, 48, 3\), expected .* multiple of 32"):
        shapes(module, 48)
