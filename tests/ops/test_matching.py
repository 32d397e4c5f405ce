"""EFDM and MixStyle against brute force in NumPy, and what holds for any features."""

import functools

import hypothesis.extra.numpy as hnp
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import signatures
from hypothesis import given, settings
from hypothesis import strategies as st

from gnl_jax.ops.matching import efdm, efdm_and_mixstyle, mixstyle, sort_features, stable_order

RNG = np.random.default_rng(0)
SHAPE = (4, 5, 3)  # one shape for all that hypothesis draws, so that each function compiles once
CONTENT, STYLE = RNG.standard_normal((2, *SHAPE)).astype(np.float32)
REFERENCE = np.asarray(sort_features(STYLE))

# XLA takes subnormal numbers for zero on some devices, NumPy never does.
floats = st.floats(-1e6, 1e6, width=32, allow_subnormal=False)
features = hnp.arrays(np.float32, SHAPE, elements=floats | st.sampled_from([0.0, -0.0, 1.0]))
distinct = hnp.arrays(np.float32, SHAPE, elements=floats.map(lambda x: x + 0.0), unique=True)
alphas = st.floats(0, 1, width=32, allow_subnormal=False)
quick = settings(max_examples=40, deadline=None)
match = jax.jit(lambda content, reference, alpha: efdm(content, reference, alpha=alpha))


def brute_efdm(content, reference, alpha):
    """By definition, in float64: content [h w c], reference [h*w c] sorted."""
    flat = content.reshape(reference.shape).astype(np.float64)
    result = np.empty_like(flat)
    for c in range(flat.shape[1]):
        order = np.argsort(flat[:, c], kind="stable")
        result[order, c] = (1 - alpha) * flat[order, c] + alpha * reference[:, c]
    return result.reshape(content.shape)


def brute_mixstyle(content, style, alpha):
    """The published formula: statistics of each channel, interpolated; features [h w c]."""
    p, q = (x.reshape(-1, x.shape[-1]).astype(np.float64) for x in (content, style))
    (mean_p, sigma_p), (mean_q, sigma_q) = ((x.mean(0), np.sqrt(x.var(0, ddof=1) + 1e-6)) for x in (p, q))
    keep = 1 - alpha
    mixed = (p - mean_p) / sigma_p * (keep * sigma_p + alpha * sigma_q) + keep * mean_p + alpha * mean_q
    return mixed.reshape(content.shape)


@quick
@given(features, features, alphas)
def test_efdm_equals_brute_force_with_ties_in_raster_order(content, style, alpha):
    reference = np.sort(style.reshape(-1, 3), axis=0)
    expected = brute_efdm(content, reference, alpha)
    scale = max(np.abs(content).max(), np.abs(style).max(), 1)
    np.testing.assert_allclose(match(content, reference, alpha), expected, atol=3e-7 * scale)


@pytest.mark.slow
def test_tied_zeros_of_either_sign_keep_their_raster_order():
    content = np.array([0.0, -0.0, 2.0, -0.0, 0.0, -1.0], np.float32).reshape(2, 3, 1)
    reference = np.arange(6, dtype=np.float32)[:, None]
    expected = np.array([1, 2, 5, 3, 4, 0], np.float32).reshape(2, 3, 1)
    np.testing.assert_array_equal(efdm(content, reference, alpha=1.0), expected)


@quick
@given(features, features)
def test_alpha_0_is_the_identity_and_alpha_1_has_exactly_the_reference_values(content, style):
    reference = sort_features(style)
    np.testing.assert_array_equal(match(content, reference, 0.0), content)
    np.testing.assert_array_equal(sort_features(match(content, reference, 1.0)), reference)


@quick
@given(features, features, alphas)
def test_efdm_keeps_the_order_of_the_content(content, style, alpha):
    result = np.asarray(match(content, sort_features(style), alpha)).reshape(-1, 3)
    order = np.argsort(content.reshape(-1, 3), axis=0, kind="stable")
    assert (np.diff(np.take_along_axis(result, order, axis=0), axis=0) >= 0).all()


@quick
@given(distinct, features, alphas, st.permutations(range(20)))
def test_efdm_moves_with_the_pixels(content, style, alpha, permutation):
    def permute(x):
        return np.asarray(x).reshape(20, 3)[np.array(permutation)].reshape(SHAPE)

    reference = sort_features(style)
    np.testing.assert_array_equal(match(permute(content), reference, alpha), permute(match(content, reference, alpha)))


VALUES = st.floats(width=32, allow_nan=False, allow_subnormal=False) | st.sampled_from([0.0, -0.0, 1.0, -1.0])


@quick
@given(hnp.arrays(np.float32, (2, 40), elements=VALUES))
def test_stable_order_is_a_stable_argsort(values):
    got = stable_order(jnp.asarray(values))
    assert got.dtype == jnp.int32
    np.testing.assert_array_equal(got, np.argsort(values, axis=-1, kind="stable"))
    with jax.enable_x64(True):
        wide = stable_order(jnp.asarray(values, jnp.float64))
    np.testing.assert_array_equal(got, wide)


@pytest.mark.parametrize("rows", [1, 3, 4, 5, 11])
def test_rows_that_are_sorted_in_pieces_are_sorted_as_one(rows):
    """Fewer rows than pieces, as many, and numbers that the pieces do not divide."""
    values = np.random.default_rng(rows).integers(-4, 5, (rows, 60)).astype(np.float32)
    np.testing.assert_array_equal(stable_order(jnp.asarray(values)), np.argsort(values, axis=-1, kind="stable"))
    ascending = sort_features(jnp.asarray(values.T.reshape(6, 10, rows)))
    np.testing.assert_array_equal(ascending, np.sort(values, axis=-1).T)


def test_matching_is_exported_for_any_number_of_images():
    (b,) = jax.export.symbolic_shape("b")
    match = jax.jit(lambda x: efdm(x, jnp.zeros((16, 8)), alpha=0.5))
    images = jax.ShapeDtypeStruct((b, 4, 4, 8), jnp.float32)
    exported = jax.export.export(match, platforms=("cpu", "cuda", "tpu"))(images)
    found = np.random.default_rng(0).random((3, 4, 4, 8), np.float32)
    np.testing.assert_array_equal(exported.call(found), match(found))


def test_stable_order_of_narrow_floats_and_under_x64():
    values = jnp.asarray([[3, -1, 0, 3, -0.0, -1]], jnp.bfloat16)
    expected = [[1, 5, 2, 4, 0, 3]]
    np.testing.assert_array_equal(stable_order(values), expected)
    with jax.enable_x64(True):  # float32 features in a program that also knows float64
        np.testing.assert_array_equal(jax.jit(stable_order)(values.astype(jnp.float32)), expected)


def test_stable_order_puts_nan_last():
    np.testing.assert_array_equal(stable_order(jnp.asarray([np.nan, np.inf, -1, np.nan, -np.inf])), [4, 2, 1, 0, 3])


def test_a_nan_stays_visible():
    content = CONTENT.copy()
    content[1, 2, 0] = np.nan
    for alpha in (0.5, 1.0):
        assert np.isnan(match(content, REFERENCE, alpha)[1, 2, 0])


@pytest.mark.slow
@pytest.mark.parametrize("function", [efdm, mixstyle, efdm_and_mixstyle])
def test_leading_axes_jit_vmap_and_a_traced_alpha(function):
    content = RNG.standard_normal((2, 3, *SHAPE)).astype(np.float32)
    expected = np.stack([[function(x, REFERENCE, alpha=0.3) for x in row] for row in content])
    np.testing.assert_allclose(function(content, REFERENCE, alpha=0.3), expected, atol=1e-6)

    @jax.jit
    def mapped(content, reference, alpha):
        return jax.vmap(functools.partial(function, alpha=alpha), in_axes=(0, None))(content, reference)

    np.testing.assert_allclose(mapped(content, REFERENCE, 0.3), expected, atol=1e-6)


def test_efdm_is_differentiable_through_jit_in_content_and_reference():
    gradients = jax.jit(jax.grad(lambda c, r: efdm(c, r, alpha=0.25).sum(), argnums=(0, 1)))(CONTENT, REFERENCE)
    np.testing.assert_allclose(gradients[0], np.full(SHAPE, 0.75), rtol=1e-6)
    np.testing.assert_allclose(gradients[1], np.full(REFERENCE.shape, 0.25), rtol=1e-6)


@pytest.mark.parametrize("alpha", [0.0, 0.3, 1.0])
def test_mixstyle_equals_brute_force(alpha):
    expected = brute_mixstyle(CONTENT, STYLE, alpha)
    np.testing.assert_allclose(mixstyle(CONTENT, REFERENCE, alpha=alpha), expected, atol=2e-6)
    with jax.enable_x64(True):
        got = mixstyle(jnp.asarray(CONTENT, jnp.float64), jnp.asarray(REFERENCE, jnp.float64), alpha=alpha)
        np.testing.assert_allclose(got, expected, atol=1e-12)


def test_mixstyle_of_a_constant_channel_is_finite():
    content = np.zeros(SHAPE, np.float32)
    np.testing.assert_allclose(
        mixstyle(content, REFERENCE, alpha=1.0), np.broadcast_to(REFERENCE.mean(0), SHAPE), atol=1e-6
    )


def test_both_is_the_average():
    halves = (brute_efdm(CONTENT, REFERENCE, 0.7) + brute_mixstyle(CONTENT, STYLE, 0.7)) / 2
    np.testing.assert_allclose(efdm_and_mixstyle(CONTENT, REFERENCE, alpha=0.7), halves, atol=2e-6)


@pytest.mark.parametrize("function", [efdm, mixstyle, efdm_and_mixstyle])
@pytest.mark.parametrize("shape", [(20, 4), (19, 3), (4, 5, 3), (1, 20, 3)])
@signatures.unchecked()
def test_a_reference_of_another_shape_is_refused(function, shape):
    with pytest.raises(ValueError, match=r"reference: got shape .*, expected \(20, 3\) for content"):
        function(CONTENT, np.zeros(shape, np.float32), alpha=0.5)


def test_sorted_features_are_numpys():
    features = np.concatenate([CONTENT, STYLE, -CONTENT, np.zeros_like(CONTENT)]).reshape(4, *SHAPE)
    features[1, :2] = [-np.inf, 0.0, np.inf]
    features[2, 0, 0] = np.nan
    expected = np.sort(features.reshape(4, 20, 3), axis=1)
    np.testing.assert_array_equal(sort_features(features), expected)
    with jax.enable_x64(True):
        wide = features.astype(np.float64)
        np.testing.assert_array_equal(sort_features(wide), np.sort(wide.reshape(4, 20, 3), axis=1))


@pytest.mark.slow
def test_bfloat16_is_matched_as_the_same_values_in_float32_are():
    content = jnp.asarray(np.maximum(RNG.standard_normal((2, 9, 8, 3)), 0), jnp.bfloat16)  # many ties
    reference = sort_features(np.maximum(RNG.standard_normal((9, 8, 3)), 0).astype(np.float32))
    for function in (efdm, mixstyle):
        got = function(content, reference, alpha=0.7)
        assert got.dtype == jnp.float32
        np.testing.assert_array_equal(got, function(content.astype(jnp.float32), reference, alpha=0.7))
    ascending = sort_features(content)
    assert ascending.dtype == jnp.bfloat16
    np.testing.assert_array_equal(ascending, sort_features(content.astype(jnp.float32)))


def test_bfloat16_of_more_positions_than_16_bits_count():
    values = jnp.asarray(RNG.standard_normal((1, 65_537)), jnp.bfloat16)
    np.testing.assert_array_equal(stable_order(values), np.argsort(np.float32(values), axis=-1, kind="stable"))


def test_features_are_sorted_once_for_what_they_are_and_for_what_they_become():
    @jax.jit
    def both(content, reference):
        return sort_features(content), efdm(content, reference, alpha=0.5)

    def sorts(program):
        return program.lower(CONTENT, REFERENCE).compile().as_text().count(" sort(")

    alone = sorts(jax.jit(lambda content, reference: efdm(content, reference, alpha=0.5)))
    assert sorts(both) == alone > 0
