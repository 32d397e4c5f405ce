"""What a memory bank's drift is measured against, from the sorted features of some of its images."""

import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from gnl_jax.ops.drift import channel_deviation

PyTree = Any
DRIFT_IMAGES = 256  # whose sorted features are kept to measure how far good images deviate, at most
DRIFT_BYTES = 2**30  # of these features, at most: fewer images where each is large


def drift_images(looks: PyTree) -> int:
    """How many images' middle ranks are kept: `DRIFT_IMAGES`, or as many as take `DRIFT_BYTES`, but two at least.

    looks: what is kept of a batch, arrays or shapes, {"1": [b m1 c1], "2": [b m2 c2]}.
    """
    of_each = sum(math.prod(look.shape[1:]) * np.dtype(np.float32).itemsize for look in looks.values())
    return min(DRIFT_IMAGES, max(2, DRIFT_BYTES // of_each))


def drift_entry(ranks: dict[str, np.ndarray]) -> PyTree:
    """The entry "drift" from the middle ranks of k good images, {"1": [k m1 c1], "2": [k m2 c2]}: see `make_drift`."""
    barycentre = {k: jnp.asarray(r.mean(0, dtype=np.float64), jnp.float32) for k, r in ranks.items()}
    # Image by image: all at once would be the ranks once more.
    deviations = {k: [channel_deviation(jnp.asarray(one), barycentre[k]) for one in r] for k, r in ranks.items()}
    spread = {k: jnp.stack(of_each).mean(0) for k, of_each in deviations.items()}
    return jax.tree.map(lambda a: a[None], {"barycentre": barycentre, "spread": spread})
