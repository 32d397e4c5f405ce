"""Where bfloat16 ends: statistics, distances and results are computed in at least float32."""

import jax
import jax.numpy as jnp


def at_least_float32(x: jax.Array) -> jax.Array:
    """x in float32, or as it is if its type is wider."""
    return x.astype(jnp.promote_types(x.dtype, jnp.float32))
