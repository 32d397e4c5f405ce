"""Sizes, shapes and initialisation of teacher, bottleneck and decoder."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import signatures

from gnl_jax.nn.blocks import ARCHITECTURES
from gnl_jax.nn.bottleneck import Bottleneck
from gnl_jax.nn.decoder import Decoder, Student
from gnl_jax.nn.resnet import ResNet

KEY = jax.random.key(0)


def count(variables) -> int:
    return sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(variables["params"]))


def abstract(module, *inputs):
    """Outputs and variables of a module as shapes; nothing is computed."""
    return jax.eval_shape(module.init_with_output, KEY, *inputs)


def images(size, dtype=jnp.float32):
    return jax.ShapeDtypeStruct((2, size, size, 3), dtype)


# The published networks' sizes, without their conv4, bn4 and layer4, which nothing uses.
PARAMETERS = {
    "resnet18": (2_782_784, 11_680_000, 3_703_168),
    "resnet50": (8_543_296, 30_829_568, 15_821_824),
    "wide_resnet50_2": (24_862_528, 58_885_120, 24_917_504),
}


@pytest.mark.parametrize(
    "arch", [arch if arch == "resnet18" else pytest.param(arch, marks=pytest.mark.slow) for arch in ARCHITECTURES]
)
def test_parameter_counts(arch):
    stages, teacher = abstract(ResNet(arch), images(256))
    embedding, bottleneck = abstract(Bottleneck(arch), stages)
    _, decoder = abstract(Decoder(arch), embedding)
    assert tuple(map(count, (teacher, bottleneck, decoder))) == PARAMETERS[arch]
    _, student = abstract(Student(arch), stages)
    assert count(student) == sum(PARAMETERS[arch][1:])


@pytest.mark.parametrize("size", [32, 256])
@pytest.mark.parametrize(("arch", "e"), [("resnet18", 1), ("resnet50", 4), ("wide_resnet50_2", 4)])
def test_output_shapes(arch, e, size):
    stages, _ = abstract(ResNet(arch), images(size))
    expected = [(2, size // 2**k, size // 2**k, 2 ** (k + 4) * e) for k in (2, 3, 4)]
    assert [s.shape for s in stages] == expected
    (embedding, decoded), _ = abstract(Student(arch), stages)
    assert embedding.shape == (2, size // 32, size // 32, 512 * e)
    assert [d.shape for d in decoded] == expected


def test_images_need_not_be_square():
    stages, _ = abstract(ResNet(), jax.ShapeDtypeStruct((1, 64, 96, 3), jnp.float32))
    (embedding, decoded), _ = abstract(Student(), stages)
    assert embedding.shape == (1, 2, 3, 512)
    assert [d.shape for d in decoded] == [s.shape for s in stages]


@pytest.mark.parametrize("shape", [(2, 28, 28, 3), (2, 32, 40, 3), (2, 40, 32, 3), (32, 32, 3)])
@signatures.unchecked()
def test_a_wrong_size_is_named(shape):
    with pytest.raises(ValueError, match=rf"images: got shape \({shape[0]}, .*multiple of 32"):
        abstract(ResNet(), jax.ShapeDtypeStruct(shape, jnp.float32))


@pytest.mark.parametrize("module", [ResNet, Student])
@signatures.unchecked()
def test_an_unknown_architecture_is_named(module):
    stages = [jax.ShapeDtypeStruct((1, 8, 8, 64), jnp.float32)] * 3
    with pytest.raises(ValueError, match=r"arch: got 'resnet19', expected one of resnet18, resnet50"):
        abstract(module("resnet19"), images(32) if module is ResNet else stages)


def test_bfloat16_in_bfloat16_out_with_float32_parameters():
    stages, teacher = abstract(ResNet(), images(32, jnp.bfloat16))
    (embedding, decoded), student = abstract(Student(), stages)
    assert {x.dtype for x in (*stages, embedding, *decoded)} == {jnp.dtype("bfloat16")}
    assert {x.dtype for x in jax.tree.leaves((teacher, student))} == {jnp.dtype("float32")}


def parameters(arch):
    """A student's parameters by name: (module, ..., leaf) -> array."""
    stages, _ = abstract(ResNet(arch), images(32))

    @jax.jit
    def init(key):
        return Student(arch).init(key, tuple(jnp.zeros(s.shape) for s in stages))["params"]

    return {tuple(k.key for k in path): leaf for path, leaf in jax.tree_util.tree_leaves_with_path(init(KEY))}


@pytest.mark.slow
def test_initialisation_of_the_student():
    """Kaiming normal over the fan out, but for the transposed kernels, which keep torch's uniform default."""
    kinds = {"normal": 0, "uniform": 0, "constant": 0}
    for path, leaf in parameters("resnet18").items():
        if path[-1] != "kernel":
            np.testing.assert_array_equal(leaf, {"scale": 1, "bias": 0}[path[-1]], err_msg=str(path))
            kinds["constant"] += 1
            continue
        fan_out = leaf.shape[0] * leaf.shape[1] * leaf.shape[3]
        if leaf.shape[:2] == (2, 2):
            bound = 1 / math.sqrt(fan_out)
            assert 0.999 * bound < np.abs(leaf).max() <= bound, path
            kinds["uniform"] += 1
        else:
            # Of n normal values, the standard deviation is within 5 / sqrt(2 n) of its own.
            np.testing.assert_allclose(leaf.std(), math.sqrt(2 / fan_out), rtol=5 / math.sqrt(2 * leaf.size))
            assert np.abs(leaf).max() > 3.5 * math.sqrt(2 / fan_out), path  # beyond a uniform's range
            kinds["normal"] += 1
    # Decoder: two of 2x2 in the first block of each stage, one and then two of 3x3. Bottleneck: 3 + (3 + 2).
    assert kinds == {"normal": 3 * 3 + 8, "uniform": 6, "constant": 2 * (3 * 3 + 8 + 6)}


@pytest.mark.slow
def test_matching_replaces_stages_1_and_2_before_the_next_stage_sees_them():
    seen = []

    def first_of_the_batch(stage, features):
        seen.append(stage)
        return jnp.broadcast_to(features[:1], features.shape)

    def nothing_at_2(stage, features):
        return 0 * features if stage == 2 else features

    @jax.jit
    def run(key, x):
        plain, teacher = ResNet().init_with_output(key, x)
        return plain, *(ResNet().apply(teacher, x, match) for match in (first_of_the_batch, nothing_at_2))

    x = np.random.default_rng(0).standard_normal((3, 32, 32, 3)).astype(np.float32)
    plain, matched, empty = run(KEY, x)
    assert seen == [1, 2]
    for a, b in zip(plain, matched, strict=True):
        np.testing.assert_allclose(b, jnp.broadcast_to(a[:1], a.shape), atol=1e-5)
        assert np.abs(a - b).max() > 0.1
    np.testing.assert_array_equal(empty[0], plain[0])
    np.testing.assert_array_equal(empty[1], 0)
    np.testing.assert_array_equal(empty[2], 0)  # a fresh BatchNorm of nothing is nothing
