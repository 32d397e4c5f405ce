from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gnl_jax.nn.bottleneck import Bottleneck
from gnl_jax.nn.decoder import Decoder
from gnl_jax.nn.layers import conv2d, conv2d_transpose_2x2
from gnl_jax.nn.resnet import init_teacher
from gnl_jax.nn.torch_keys import from_torch, to_torch, torch_shapes

GOLDEN = Path(__file__).parents[1] / "golden"
ARCHS = {"resnet18": ("resnet18_32.npz", 1), "wide_resnet50_2": ("wide_resnet50_2_64.npz", 4)}


def expected_student(arch: str, expansion: int) -> dict[str, dict]:
    key = jax.random.key(0)
    stages = tuple(jnp.zeros((1, 8 // 2**k, 8 // 2**k, 64 * 2**k * expansion)) for k in range(3))
    embedding = jnp.zeros((1, 1, 1, 512 * expansion))
    return {
        "bottleneck": jax.eval_shape(Bottleneck(arch).init, key, stages),
        "decoder": jax.eval_shape(Decoder(arch).init, key, embedding),
    }


@pytest.mark.parametrize("arch", ARCHS)
def test_names_and_shapes_are_those_of_the_published_networks(arch):
    file, expansion = ARCHS[arch]
    with np.load(GOLDEN / file) as golden:
        published = {key.removeprefix("train/after_step2/") for key in golden.files if "/after_step2/" in key}
        sizes = {key: golden[f"train/after_step2/{key}"].size for key in published}
    ours = {
        f"{part}.{key}": shape
        for part, expected in expected_student(arch, expansion).items()
        for key, shape in torch_shapes(expected).items()
    }
    assert set(ours) == published
    assert all(sizes[key] == 1 + min(8, np.prod(shape)) for key, shape in ours.items())  # [norm, first 8 values]


@pytest.mark.slow
def test_there_and_back():
    rng = np.random.default_rng(0)
    for expected in (
        *expected_student("resnet18", 1).values(),
        jax.eval_shape(lambda: init_teacher(jax.random.key(0), "resnet50")),
    ):
        state_dict = {k: rng.standard_normal(shape, np.float32) for k, shape in torch_shapes(expected).items()}
        variables = from_torch(state_dict, expected)
        assert jax.tree.map(np.shape, variables) == jax.tree.map(np.shape, dict(expected))
        back = to_torch(variables)
        assert back.keys() == state_dict.keys()
        for key, value in state_dict.items():
            np.testing.assert_array_equal(back[key], value)


def kernel_of(weight: np.ndarray, shape: tuple[int, ...]) -> jax.Array:
    expected = {"params": {"conv": {"kernel": jax.ShapeDtypeStruct(shape, jnp.float32)}}}
    return jnp.asarray(from_torch({"conv.weight": weight}, expected)["params"]["conv"]["kernel"])


def test_convolution_means_the_same():
    rng = np.random.default_rng(1)
    x, weight = rng.standard_normal((1, 5, 4, 3), np.float32), rng.standard_normal((2, 3, 3, 3), np.float32)
    y = conv2d(jnp.asarray(x), kernel_of(weight, (3, 3, 3, 2)))
    brute = np.zeros((1, 3, 2, 2))
    for i, j, o in np.ndindex(3, 2, 2):  # torch's definition of Conv2d
        brute[0, i, j, o] = sum(np.sum(x[0, i : i + 3, j : j + 3, c] * weight[o, c]) for c in range(3))
    np.testing.assert_allclose(y, brute, rtol=1e-5, atol=1e-5)


def test_transposed_convolution_means_the_same():
    rng = np.random.default_rng(2)
    x, weight = rng.standard_normal((1, 2, 3, 4), np.float32), rng.standard_normal((4, 5, 2, 2), np.float32)
    y = conv2d_transpose_2x2(jnp.asarray(x), kernel_of(weight, (2, 2, 4, 5)))
    brute = np.zeros((1, 4, 6, 5))
    for i, j, a, b in np.ndindex(2, 3, 2, 2):  # torch's definition of ConvTranspose2d with kernel and stride 2
        brute[0, 2 * i + a, 2 * j + b] += x[0, i, j] @ weight[:, :, a, b]
    np.testing.assert_allclose(y, brute, rtol=1e-5, atol=1e-5)


def struct(*shape: int) -> jax.ShapeDtypeStruct:
    return jax.ShapeDtypeStruct(shape, jnp.float32)


EXPECTED = {
    "params": {"layer1_0": {"conv1": {"kernel": struct(1, 1, 2, 3)}, "bn1": {"scale": struct(3), "bias": struct(3)}}},
    "batch_stats": {"layer1_0": {"bn1": {"mean": struct(3), "var": struct(3)}}},
}
GOOD = {
    "layer1.0.conv1.weight": np.ones((3, 2, 1, 1), np.float32),
    "layer1.0.bn1.weight": np.ones(3, np.float32),
    "layer1.0.bn1.bias": np.ones(3, np.float32),
    "layer1.0.bn1.running_mean": np.ones(3, np.float32),
    "layer1.0.bn1.running_var": np.ones(3, np.float32),
    "layer1.0.bn1.num_batches_tracked": np.array(3),
}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"layer1.0.conv1.weight": np.ones((1, 1, 2, 3), np.float32)},
            r"got shape \(1, 1, 2, 3\), expected \(3, 2, 1, 1\)",
        ),
        (
            {"layer1.0.bn1.weight": np.ones(3, np.int64)},
            "layer1.0.bn1.weight: got type int64, expected floats",
        ),
        ({"layer1.0.bn1.bias": np.array([0, np.nan, 0], np.float32)}, "layer1.0.bn1.bias: holds a NaN"),
        ({"layer1.0.bn1.bias": np.array([0, 1e300, 0])}, "layer1.0.bn1.bias: holds a NaN or an infinity"),
        ({"layer1.1.conv1.weight": np.ones(1)}, "layer1.1.conv1.weight: unexpected"),
        ({"layer1.0.bn1.bias.more": np.ones(1)}, "layer1.0.bn1.bias.more: unexpected"),
        ({"layer1.0.bn1.running_var": None}, r"layer1.0.bn1.running_var: missing, expected shape \(3,\)"),
    ],
)
def test_errors_name_the_key(change, message):
    state_dict = {key: value for key, value in (GOOD | change).items() if value is not None}
    with pytest.raises(ValueError, match=f"file.pth: .*{message}"):
        from_torch(state_dict, EXPECTED, source="file.pth")


def test_every_problem_is_reported_and_ignored_keys_are_none():
    from_torch(GOOD | {"fc.weight": np.ones(1), "fc.bias": np.ones(1)}, EXPECTED, ignore=("fc.",))
    with pytest.raises(ValueError, match=r"weight: missing.*bias: missing.*running_mean: missing"):
        from_torch({}, EXPECTED)
    with pytest.raises(ValueError, match=r"; and 12 more$"):
        from_torch(GOOD | {f"x{i}": np.ones(1) for i in range(20)}, EXPECTED)
    with pytest.raises(ValueError, match=r"params/a/gamma: no torch name is known"):
        torch_shapes({"params": {"a": {"gamma": struct(1)}}})
