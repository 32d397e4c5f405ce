"""Views of good images whose patches may be in a bank too, and the key that each image's view is drawn with."""

import jax
import jax.numpy as jnp
from jaxtyping import Int, Key

from gnl_jax.array_types import Array
from gnl_jax.images.augmix import augmix_each
from gnl_jax.images.degrade import degrade_each

_GROUP = 8  # images that share a first key; a constant, so that views do not depend on how many images pass at once
# (keys [b], images uint8 [b s s 3], options) -> float32 in [0, 255].
BANK_VIEWS = {
    "augmix": lambda keys, images, options: augmix_each(keys, images, **options.augmix._asdict()),
    "degraded": lambda keys, images, options: degrade_each(keys, images),
}


def view_keys(
    key: Key[Array, ""], *, first: Int[Array, ""] | int, start: Int[Array, ""] | int, n: int
) -> Key[Array, "{n}"]:
    """A key for each of n images, from its position alone, whatever batch it is in.

    Args:
        key: of the view.
        first: how many images the bank held before.
        start: position of the first of these images among those that are learned from now.
        n: how many.
    """

    def of_one(position: Array) -> Array:
        group = jax.random.fold_in(key, first + position // _GROUP * _GROUP)
        return jax.random.fold_in(group, position % _GROUP)

    return jax.vmap(of_one)(start + jnp.arange(n))
