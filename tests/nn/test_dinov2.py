"""DINOv2: golden values of transformers, sizes, positions, errors."""

import functools
import math
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import signatures
from golden_dinov2 import SIZES, digest, images, weight

from gnl_jax.nn.dinov2 import VARIANTS, DinoV2, Embeddings, Variant
from gnl_jax.nn.position_embeddings import antialiased_bicubic, bicubic
from gnl_jax.nn.torch_keys import from_torch, torch_shapes
from gnl_jax.nn.transformer import Block, attend

TINY = {"plain": Variant(32, 3, 2), "registers": Variant(32, 3, 2, registers=2)}
PARAMETERS = {
    "dinov2_vits14": 22_056_192,
    "dinov2_vitb14": 86_579_712,
    "dinov2_vitl14": 304_367_616,
}


@functools.cache
def golden() -> dict[str, np.ndarray]:
    return dict(np.load(Path(__file__).parents[1] / "golden" / "dinov2.npz"))


@functools.cache
def expected_shapes(sizes: Variant):
    return jax.eval_shape(lambda: DinoV2(sizes).init(jax.random.key(0), jnp.zeros((1, 14, 14, 3))))


@functools.cache
def variables(sizes: Variant):
    expected = expected_shapes(sizes)
    return from_torch({key: weight(key, shape) for key, shape in torch_shapes(expected).items()}, expected)


@functools.partial(jax.jit, static_argnums=(0, 3))
def states(sizes: Variant, variables, x, positions="transformers") -> list[jax.Array]:
    """All tokens before the first block, after every block, and after the final LayerNorm."""
    before = Embeddings(sizes, positions).apply({"params": variables["params"]["embeddings"]}, x)
    layers = tuple(range(1, sizes.blocks + 1))
    found = DinoV2(sizes, positions).apply(variables, x, layers, method="features")
    blocks = [
        jnp.concatenate([c[:, None], r, p.reshape(p.shape[0], -1, p.shape[-1])], axis=1)
        for p, c, r in zip(found.patches, found.classes, found.registers, strict=True)
    ]
    return [before, *blocks, found.last]


def run(kind: str, x: np.ndarray, dtype, **options) -> list[np.ndarray]:
    with jax.enable_x64(dtype == np.float64):
        cast = jax.tree.map(lambda leaf: jnp.asarray(leaf, dtype), variables(TINY[kind]))
        found = states(TINY[kind], cast, jnp.asarray(x, dtype), **options)
        assert {state.dtype for state in found} == {jnp.dtype(dtype)}
        return [np.asarray(state, np.float64) for state in found]


def assert_close(found, wanted, tolerance: float) -> None:
    for state, (ours, theirs) in enumerate(zip(found, wanted, strict=True)):
        error = np.linalg.norm(ours - theirs) / np.linalg.norm(theirs)
        assert error <= tolerance, f"state {state}: {error}"


PRECISIONS = pytest.mark.parametrize(("dtype", "tolerance"), [(np.float64, 1e-8), (np.float32, 1e-5)])


@PRECISIONS
@pytest.mark.parametrize("kind", TINY)
def test_tokens_of_every_block(kind, dtype, tolerance):
    """Token by token, at a size that is not square, two images."""
    assert_close(run(kind, images(42, 70, batch=2), dtype), golden()[f"{kind}_42x70"], tolerance)


@pytest.mark.parametrize(
    ("kind", "size", "dtype", "tolerance"),
    [
        *(("plain", size, np.float64, 1e-8) for size in SIZES),
        *(("registers", size, np.float64, 1e-8) for size in (SIZES[0], SIZES[3])),
        *(("plain", size, np.float32, 1e-5) for size in (SIZES[1], SIZES[3])),
        ("registers", SIZES[0], np.float32, 1e-5),
    ],
)
def test_sizes(kind, size, dtype, tolerance):
    found = [digest(state)[0] for state in run(kind, images(*size), dtype)]
    assert_close(found, golden()[f"{kind}_{size[0]}x{size[1]}"], tolerance)


@pytest.mark.parametrize("size", [SIZES[0], SIZES[3]], ids=str)
def test_positions_of_the_original(size):
    found = [digest(state)[0] for state in run("plain", images(*size), np.float64, positions="original")]
    key = f"{size[0]}x{size[1]}"
    assert_close(found, golden()[f"original_{key}"], 1e-8)
    difference = golden()[f"original_{key}"] - golden()[f"plain_{key}"]
    assert np.linalg.norm(difference) > 1e-3 * np.linalg.norm(golden()[f"plain_{key}"])  # the test tells them apart


def test_positions_agree_at_the_size_of_training_and_with_registers():
    for kind, size in (("plain", (518, 518)), ("registers", (70, 42))):
        parameters = {"params": variables(TINY[kind])["params"]["embeddings"]}
        embeddings = [
            jax.jit(Embeddings(TINY[kind], positions).apply)(parameters, images(*size))
            for positions in ("transformers", "original")
        ]
        np.testing.assert_array_equal(*embeddings)


@pytest.mark.parametrize("new", [1, 5, 36, 37, 38, 74])
@pytest.mark.parametrize("resize", [bicubic, functools.partial(bicubic, offset=0.1), antialiased_bicubic])
def test_resized_constants_and_lines(resize, new):
    """Rows sum to one; away from the ends, a line sampled more finely stays a line."""
    weights = resize(new, 37)
    np.testing.assert_allclose(weights.sum(axis=1), 1, rtol=1e-12)
    if new == 74 and resize is bicubic:
        line = weights @ np.arange(37)
        np.testing.assert_allclose(line[4:-4], (np.arange(74)[4:-4] + 0.5) / 2 - 0.5, atol=0.05)


@pytest.mark.parametrize("name", VARIANTS)
def test_parameter_counts(name):
    shapes = torch_shapes(expected_shapes(VARIANTS[name]))
    plain = name.removesuffix("_reg")
    registers = 4 * VARIANTS[name].width if name != plain else 0
    assert sum(math.prod(shape) for shape in shapes.values()) == PARAMETERS[plain] + registers
    # transformers' files have the mask token besides.
    assert len(shapes) == 18 * VARIANTS[name].blocks + 6 + (name != plain)


def test_output_shapes_and_order():
    x = jax.ShapeDtypeStruct((2, 28, 42, 3), np.float32)
    model = DinoV2(TINY["registers"])
    found = jax.eval_shape(
        lambda v, x: model.apply(v, x, (3, 1), method="features"), expected_shapes(TINY["registers"]), x
    )
    assert [p.shape for p in found.patches] == [(2, 2, 3, 32)] * 2
    assert [c.shape for c in found.classes] == [(2, 32)] * 2
    assert [r.shape for r in found.registers] == [(2, 2, 32)] * 2
    assert found.last.shape == (2, 1 + 2 + 6, 32)
    apply = jax.jit(functools.partial(model.apply, layers=(3, 1), method="features"))
    found = apply(variables(TINY["registers"]), images(42, 70, batch=2))
    for k, patches, classes in zip((3, 1), found.patches, found.classes, strict=True):
        wanted = golden()["registers_42x70"][k]
        assert_close([patches.reshape(2, 15, 32), classes], [wanted[:, 3:], wanted[:, 0]], 1e-5)


@pytest.mark.parametrize("kind", TINY)
def test_a_stage_for_each_block(kind):
    """The teacher's stages: patch tokens, in transformers' own values; the last ones after the final LayerNorm."""
    first = 1 + TINY[kind].registers
    stages = jax.jit(DinoV2(TINY[kind]).apply)(variables(TINY[kind]), images(42, 70, batch=2))
    assert [stage.shape for stage in stages] == [(2, 3, 5, 32)] * 3
    golden_states = golden()[f"{kind}_42x70"]
    wanted = [golden_states[k][:, first:] for k in (1, 2, 4)]
    assert_close([stage.reshape(2, 15, 32) for stage in stages], wanted, 1e-5)


@pytest.mark.slow
def test_a_hook_replaces_what_the_next_block_sees():
    """Block 2 of other patch tokens after block 1, as the block itself has them; class and registers stay."""
    sizes, x, seen = TINY["registers"], images(42, 70, batch=2), []
    model, parameters = DinoV2(sizes), variables(sizes)

    def match(block, patches):
        seen.append((block, patches.shape))
        return -2 * patches if block == 1 else patches

    plain, changed = (
        jax.jit(functools.partial(model.apply, layers=(1, 2), match=hook, method="features"))(parameters, x)
        for hook in (None, match)
    )
    assert seen == [(1, (2, 3, 5, 32)), (2, (2, 3, 5, 32))]  # never after the last block
    np.testing.assert_array_equal(changed.patches[0], -2 * plain.patches[0])
    for kept in ("classes", "registers"):
        np.testing.assert_array_equal(getattr(changed, kept)[0], getattr(plain, kept)[0])
    tokens = [part.reshape(2, -1, 32) for part in (plain.classes[0], plain.registers[0], changed.patches[0])]
    block = {"params": parameters["params"]["encoder"]["layer_1"]}
    second = jax.jit(Block(sizes.heads).apply)(block, jnp.concatenate(tokens, axis=1))
    assert_close([changed.patches[1].reshape(2, 15, 32)], [second[:, 3:]], 1e-6)
    stages = jax.jit(functools.partial(model.apply, match=match))(parameters, x)
    np.testing.assert_allclose(stages[1], changed.patches[1], rtol=1e-4, atol=1e-5)


def test_blocks_after_the_last_chosen_one_are_not_computed():
    sizes, x = TINY["plain"], jnp.asarray(images(28, 42))

    def flops(layer: int) -> float:
        apply = jax.jit(lambda v, x: DinoV2(sizes).apply(v, x, (layer,), method="features").patches)
        return apply.lower(variables(sizes), x).compile().cost_analysis()["flops"]

    products = 2 * 7 * (12 * 32**2 + 2 * 7 * 32)  # of one block, for an image's 7 tokens
    assert flops(3) - flops(1) >= 2 * products


@pytest.mark.parametrize("tokens", [1, 256, 600])
def test_attention_in_blocks(tokens):
    query, key, value = np.random.default_rng(tokens).standard_normal((3, 2, tokens, 2, 8))
    with jax.enable_x64(True):
        found = jax.jit(attend)(*map(jnp.asarray, (query, key, value)))
    scores = np.einsum("bqhd,bkhd->bhqk", query, key) / np.sqrt(8)
    weights = np.exp(scores - scores.max(-1, keepdims=True))
    weights /= weights.sum(-1, keepdims=True)
    np.testing.assert_allclose(found, np.einsum("bhqk,bkhd->bqhd", weights, value), rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("shape", [(1, 224, 225, 3), (1, 20, 28, 3), (1, 0, 28, 3), (28, 28, 3), (1, 28, 28, 1)])
@signatures.unchecked()
def test_images_of_another_shape(shape):
    with pytest.raises(
        ValueError, match=r"images: got shape \(.*\), expected \[b h w 3\] with h and w multiples of 14"
    ):
        jax.eval_shape(DinoV2(TINY["plain"]).apply, variables(TINY["plain"]), jnp.zeros(shape))


def test_other_arguments():
    x = jnp.zeros((1, 14, 14, 3))
    for layers in ((0,), (1, 4), (-1,)):
        with pytest.raises(ValueError, match=r"layers: got \(.*\), expected numbers of blocks from 1 to 3"):
            DinoV2(TINY["plain"]).apply(variables(TINY["plain"]), x, layers, method="features")
    with pytest.raises(ValueError, match=r"positions: got 'bilinear', expected one of transformers, original"):
        DinoV2(TINY["plain"], "bilinear").apply(variables(TINY["plain"]), x)
