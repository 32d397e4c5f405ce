"""Feature distribution matching: give a test image's features the per-channel distribution of a reference.

`content` is [*b h w c]; a reference is kept as `sort_features` leaves it, [h*w c], ascending in each channel, so that
it is sorted once and no training image has to be stored. `alpha` in [0, 1] is the weight of the training style (the
published `lamda` is 1 - alpha) and may be traced.
"""

import jax
import jax.numpy as jnp
from jax import lax


def sort_features(features: jax.Array) -> jax.Array:
    """Per-channel ascending values of features [*b h w c] -> [*b h*w c]: a reference for `efdm` and `mixstyle`.

    The zero is positive, NaN come last. Features that are matched as well are sorted once: XLA finds `efdm`'s sort.
    """
    *lead, h, w, c = features.shape
    values = _by_channel(features)
    if values.dtype != jnp.float32:
        ascending = jnp.sort(values, axis=-1)
    else:
        with jax.enable_x64(True):
            bits = (_sorted_with_index(values) >> jnp.uint64(32)).astype(jnp.uint32)
        bits = jnp.where(bits >> 31, bits & jnp.uint32(0x7FFFFFFF), ~bits)
        ascending = lax.bitcast_convert_type(bits, jnp.float32)
    return jnp.moveaxis(ascending.reshape(-1, c, h * w), 1, 2).reshape(*lead, h * w, c)


def _by_channel(features: jax.Array) -> jax.Array:
    """The values of each image's channels: [*b h w c] -> [b*c h*w]."""
    *_, h, w, c = features.shape
    return jnp.moveaxis(features.reshape(-1, h * w, c), 1, 2).reshape(-1, h * w)


def _check(content: jax.Array, reference: jax.Array) -> None:
    *_, h, w, c = content.shape
    if reference.shape != (h * w, c):
        raise ValueError(f"reference: got shape {reference.shape}, expected {(h * w, c)} for content {content.shape}")


def stable_order(values: jax.Array) -> jax.Array:
    """Indices that sort the last axis ascending, equal values in their order: float32 [... n] -> int32 [... n].

    -0.0 equals 0.0; NaN comes last (as a positive NaN). Other dtypes use argsort.
    """
    if values.dtype != jnp.float32:
        return jnp.argsort(values, axis=-1, stable=True).astype(jnp.int32)
    with jax.enable_x64(True):
        return (_sorted_with_index(values) & jnp.uint64(0xFFFFFFFF)).astype(jnp.int32)


def _sorted_with_index(values: jax.Array) -> jax.Array:
    """float32 [... n] -> uint64 [... n], the last axis ascending: (bits that order as the floats do, index).

    Packed in one integer and sorted as such: exact, stable and, on a CPU, 8 times faster than `jnp.argsort` and 4 times
    than `jnp.sort`.
    """
    bits = lax.bitcast_convert_type(jnp.where(values == 0, 0.0, values), jnp.uint32)
    bits = jnp.where(bits >> 31, ~bits, bits | jnp.uint32(1 << 31))
    index = lax.broadcasted_iota(jnp.uint64, values.shape, values.ndim - 1)
    packed = (bits.astype(jnp.uint64) << jnp.uint64(32)) | index
    return lax.sort(packed, dimension=-1, is_stable=False)


def efdm(content: jax.Array, reference: jax.Array, *, alpha: jax.Array | float) -> jax.Array:
    """Exact feature distribution matching, Eq. 5: (1 - alpha) c + alpha v, v the reference value of c's rank.

    content [*b h w c], reference [h*w c] sorted -> [*b h w c]. Ties (ReLU zeros) take their ranks in raster order;
    torch's default sort leaves that order open. Per channel and image one sort, then the ranks are scattered back.
    """
    _check(content, reference)
    *_, h, w, c = content.shape
    order = stable_order(_by_channel(content))
    ranks = jnp.arange(h * w, dtype=jnp.int32)
    rank = jax.vmap(lambda o: jnp.zeros_like(ranks).at[o].set(ranks, unique_indices=True))(order)
    rank = rank.reshape(-1, c, h * w)
    style = jax.vmap(lambda r: jnp.take_along_axis(reference.T, r, axis=1, mode="clip"))(rank)
    style = jnp.moveaxis(style, 1, 2).reshape(content.shape)
    # Not c + alpha (v - c): in this form the ends are exact and rounding never reverses two values.
    return (1 - alpha) * content + alpha * style


def mixstyle(content: jax.Array, reference: jax.Array, *, alpha: jax.Array | float) -> jax.Array:
    """Matching of mean and standard deviation only: both statistics move to the reference's by alpha.

    content [*b h w c], reference [h*w c] -> [*b h w c]; sigma = sqrt(unbiased variance + 1e-6), as published.
    """
    _check(content, reference)

    def moments(x: jax.Array, axes: tuple[int, ...]) -> tuple[jax.Array, jax.Array]:
        return x.mean(axes, keepdims=True), jnp.sqrt(x.var(axes, ddof=1, keepdims=True) + 1e-6)

    mean, sigma = moments(content, (-3, -2))
    style_mean, style_sigma = (m.reshape((1,) * (content.ndim - 1) + (-1,)) for m in moments(reference, (0,)))
    normal = (content - mean) / sigma
    return normal * ((1 - alpha) * sigma + alpha * style_sigma) + (1 - alpha) * mean + alpha * style_mean


def efdm_and_mixstyle(content: jax.Array, reference: jax.Array, *, alpha: jax.Array | float) -> jax.Array:
    """The published "both": the average of `efdm` and `mixstyle` at the same alpha.

    Published code: always at alpha 0.5, whatever the setting, because its argument is not forwarded.
    """
    return 0.5 * (efdm(content, reference, alpha=alpha) + mixstyle(content, reference, alpha=alpha))


MATCHINGS = {"efdm": efdm, "mixstyle": mixstyle, "both": efdm_and_mixstyle}
