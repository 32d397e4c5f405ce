"""Feature mixing in training: the images of a batch lend each other their feature distributions (MixStyle, EFDMix)."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Bool, Float, Int32, Key

from gnl_jax.array_types import Array
from gnl_jax.ops.matching import efdm, mixstyle, sort_features

MIXINGS = {"mixstyle": mixstyle, "efdm": efdm}


class Mixing(NamedTuple):
    """How features are mixed; the defaults are those of the published MixStyle and EFDMix.

    Paper: "apply to the encoders in the first two network layers". What the student then reconstructs is not said: here
    the mixed features, as in test-time matching, or the clean ones.
    """

    kind: str  # "mixstyle" moves the channels' means and deviations, "efdm" all their sorted values
    probability: float = 0.5  # that a batch is mixed
    alpha: float = 0.1  # an image keeps the share lambda ~ Beta(alpha, alpha) of its own
    clean_targets: bool = False


def random_partners(key: Key[Array, ""], valid: Bool[Array, "b"]) -> Int32[Array, "b"]:
    """A random permutation of the valid rows among themselves; other rows keep themselves.

    Row i's draw follows from `fold_in(key, i)` alone, so rows that fill up a batch change nothing.
    """
    rows = jnp.arange(valid.shape[0])
    draws = jax.vmap(lambda i: jax.random.uniform(jax.random.fold_in(key, i)))(rows)
    shuffled = jnp.argsort(jnp.where(valid, draws, jnp.inf))  # valid rows first, in random order
    nth_valid = jnp.cumsum(valid) - 1
    return jnp.where(valid, shuffled[nth_valid], rows).astype(jnp.int32)


def mix_features(
    key: Key[Array, ""], features: Float[Array, "b h w c"], valid: Bool[Array, "b"], mixing: Mixing
) -> Float[Array, "b h w c"]:
    """Mixes each image's feature distribution with that of another valid image.

    One coin for the batch decides whether it is mixed at all. No gradient belongs to the partner: the features are a
    frozen teacher's. Raises ValueError for an unknown kind.
    """
    if mixing.kind not in MIXINGS:
        raise ValueError(f"method.mixing.kind: got {mixing.kind!r}, expected one of {', '.join(MIXINGS)}")
    coin, partners, shares = jax.random.split(key, 3)

    def mixed(features):
        rows = jnp.arange(features.shape[0])
        kept = jax.vmap(lambda i: jax.random.beta(jax.random.fold_in(shares, i), mixing.alpha, mixing.alpha))(rows)
        wide = jnp.promote_types(features.dtype, jnp.float32)
        lent = sort_features(features)[random_partners(partners, valid)].astype(wide)
        mix = jax.vmap(lambda x, reference, share: MIXINGS[mixing.kind](x, reference, alpha=1 - share))
        return mix(features, lent, kept.astype(wide)).astype(features.dtype)

    # Published code: mixes unless U > p.
    return jax.lax.cond(jax.random.uniform(coin) <= mixing.probability, mixed, lambda features: features, features)


def make_mixer(
    key: Key[Array, ""], valid: Bool[Array, "b"], mixing: Mixing
) -> Callable[[int, Float[Array, "n h w c"]], Float[Array, "n h w c"]]:
    """The teacher's `match` hook that mixes stages 1 and 2 with independent draws, also for each view of [b*v ...]."""

    def match(stage: int, features: Float[Array, "n h w c"]) -> Float[Array, "n h w c"]:
        views = features.reshape(valid.shape[0], -1, *features.shape[1:])
        keys = [jax.random.fold_in(jax.random.fold_in(key, stage), view) for view in range(views.shape[1])]
        mixed = [mix_features(k, views[:, view], valid, mixing) for view, k in enumerate(keys)]
        return jnp.stack(mixed, axis=1).reshape(features.shape)

    return match
