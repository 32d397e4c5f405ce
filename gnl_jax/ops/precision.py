"""Where bfloat16 ends: statistics, distances and results are computed in at least float32."""

import jax.numpy as jnp
from jaxtyping import Float, Shaped

from gnl_jax.array_types import Array


def at_least_float32(x: Shaped[Array, "*n"]) -> Float[Array, "*n"]:
    """x in float32, or as it is if its type is wider."""
    return x.astype(jnp.promote_types(x.dtype, jnp.float32))
