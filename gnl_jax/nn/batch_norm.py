"""Batch normalisation with statistics for each view of a batch, and what becomes of it when training is over."""

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Bool, Float

from gnl_jax.array_types import Array
from gnl_jax.ops.precision import at_least_float32

EPSILON = 1e-5  # torch's


class BatchNorm(nn.Module):
    """Batch normalisation over rows and positions (torch: epsilon 1e-5), computed in at least float32.

    `valid` None: normalise x with the stored `batch_stats`, or, where `fold` has put these into the
    convolution before, add the bias that is left. `valid` given: normalise each view of x [b *v h w c] with its own
    mean and biased variance of the valid rows and write (mean, unbiased variance), [*v c], to the collection
    `statistics`; the stored values are never touched, `fold_statistics` moves them. The result has x's dtype. `affine`
    False: no scale, no bias.
    """

    epsilon: float = EPSILON
    affine: bool = True

    @nn.compact
    def __call__(
        self, x: Float[Array, "b *v h w c"], valid: Bool[Array, "b"] | None = None
    ) -> Float[Array, "b *v h w c"]:
        """Normalised x, in its dtype."""
        features = x.shape[-1]
        per_channel = (1,) * (x.ndim - 1) + (features,)
        if valid is None and self.has_variable("params", "bias") and not self.has_variable("params", "scale"):
            return x + self.get_variable("params", "bias").astype(x.dtype).reshape(per_channel)
        scale = self.param("scale", nn.initializers.ones, (features,)) if self.affine else jnp.ones(features)
        bias = self.param("bias", nn.initializers.zeros, (features,)) if self.affine else jnp.zeros(features)
        mean = self.variable("batch_stats", "mean", jnp.zeros, (features,))
        var = self.variable("batch_stats", "var", jnp.ones, (features,))
        wide = at_least_float32(x)
        if valid is None:
            gain = scale * lax.rsqrt(var.value + self.epsilon)
            shift = bias - mean.value * gain
            return (wide * gain.reshape(per_channel) + shift.reshape(per_channel)).astype(x.dtype)

        axes = (0, x.ndim - 3, x.ndim - 2)
        rows = valid.reshape((-1,) + (1,) * (x.ndim - 1))
        count = jnp.sum(valid).astype(wide.dtype) * (x.shape[-3] * x.shape[-2])
        safe = jnp.maximum(count, 1)
        # Mean and variance in one pass over x, and one pass less in the gradient: relative to the first row's mean,
        # which is at most sqrt(b) deviations from the batch's, so that little cancels.
        shift = jnp.where(valid[0], jnp.mean(wide[:1], axis=axes, keepdims=True), 0)
        shift = lax.stop_gradient(shift)
        offset = wide - shift
        mean_offset, square = (
            jnp.sum(jnp.where(rows, a, 0), axis=axes, keepdims=True) / safe for a in (offset, jnp.square(offset))
        )
        batch_var = jnp.maximum(square - jnp.square(mean_offset), 0)
        # torch keeps the unbiased variance; at 1x1 maps a batch of 16 makes the factor 16/15.
        unbiased = batch_var * safe / jnp.maximum(count - 1, 1)
        for name, value in (("mean", shift + mean_offset), ("var", unbiased)):
            value = jnp.squeeze(value, axis=axes)
            self.sow("statistics", name, value, reduce_fn=lambda _, new: new, init_fn=lambda: None)
        gain = scale.reshape(per_channel) * lax.rsqrt(batch_var + self.epsilon)
        return ((offset - mean_offset) * gain + bias.reshape(per_channel)).astype(x.dtype)


def fold_statistics(running, statistics, *, momentum: float = 0.9):
    """Running statistics after training passes over v views, in view order.

    r <- m^v r + (1 - m) sum_i m^(v-1-i) s_i, equal to v successive updates r <- m r + (1 - m) s_i.
    `running`: pytree of [c]; `statistics`: the same tree of [v c]. torch's momentum 0.1 is 0.9 here.
    """

    def fold(r: Array, s: Array) -> Array:
        views = s.shape[0]
        weights = (1 - momentum) * momentum ** jnp.arange(views - 1, -1, -1, dtype=s.dtype)
        return momentum**views * r + weights @ s

    return jax.tree.map(fold, running, statistics)
