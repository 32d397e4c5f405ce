"""A few rows that stand for many: the greedy k-centre choice."""

import functools

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Float, Int, Int32

from gnl_jax.array_types import Array
from gnl_jax.ops.nearest import half_squared_norms, nearest


@functools.partial(jax.jit, static_argnames="k")
def k_center(points: Float[Array, "n d"], *, k: int, start: Int[Array, ""] | int) -> Int32[Array, "{k}"]:
    """Rows chosen one by one, each the farthest from those chosen before (greedy 2-approximation of k-centre).

    Args:
        points: rows to choose from.
        k: how many rows, 1 to n.
        start: the first row.

    Returns:
        In the order of choice; of equally far rows the first.

    Raises:
        ValueError: k outside 1 to n.
    """
    if not 1 <= k <= len(points):
        raise ValueError(f"k: got {k}, expected 1 to {len(points)}, the number of rows")
    squares = jnp.sum(jnp.square(points), axis=-1)

    def choose(i, carried):
        chosen, least = carried
        last = chosen[i - 1]
        squared = squares - 2 * (points @ points[last]) + squares[last]
        least = jnp.minimum(least, jnp.maximum(squared, 0)).at[last].set(-1)  # never again, though all be equal
        return chosen.at[i].set(jnp.argmax(least).astype(jnp.int32)), least

    first = jnp.zeros(k, jnp.int32).at[0].set(jnp.asarray(start, jnp.int32))
    return lax.fori_loop(1, k, choose, (first, jnp.full(len(points), jnp.inf, points.dtype)))[0]


@functools.partial(jax.jit, static_argnames="k")
def k_center_beyond(points: Float[Array, "n d"], known: Float[Array, "m d"], *, k: int) -> Int32[Array, "{k}"]:
    """Rows chosen one by one, each the farthest from those known and those chosen before.

    Args:
        points: rows to choose from.
        known: rows that are there already, one or more.
        k: how many rows, 1 to n.

    Returns:
        In the order of choice; of equally far rows the first.

    Raises:
        ValueError: k outside 1 to n.
    """
    if not 1 <= k <= len(points):
        raise ValueError(f"k: got {k}, expected 1 to {len(points)}, the number of rows")
    squares = jnp.sum(jnp.square(points), axis=-1)
    norms, block = half_squared_norms(known), min(512, len(points))
    # In blocks: all products at once would be n times m numbers.
    least = lax.map(lambda point: jnp.square(nearest(point[None], known, norms)[0][0]), points, batch_size=block)

    def choose(i, carried):
        chosen, least = carried
        last = jnp.argmax(least).astype(jnp.int32)
        squared = squares - 2 * (points @ points[last]) + squares[last]
        return chosen.at[i].set(last), jnp.minimum(least, jnp.maximum(squared, 0)).at[last].set(-1)

    return lax.fori_loop(0, k, choose, (jnp.zeros(k, jnp.int32), least))[0]
