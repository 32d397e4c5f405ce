"""Brightness, colour cast and contrast of whole images, brought to a reference."""

from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from gnl_jax.array_types import Array

LEAST_SIGMA = 1e-3  # of values in [0, 255]: an image of one value stays one


class PixelMoments(NamedTuple):
    """Mean of each channel, and the standard deviation around them over all channels."""

    mean: Float[Array, "3"]
    sigma: Float[Array, ""]


def match_moments(images: Float[Array, "b h w 3"], reference: PixelMoments) -> Float[Array, "b h w 3"]:
    """Gives images the reference's mean in each channel and its one contrast for all.

    A single contrast keeps the hue of what differs from the mean; the three means take away a colour cast.

    Args:
        images: in [0, 255].
        reference: of the same range.

    Returns:
        Images whose values may leave [0, 255].
    """
    mean, sigma = image_moments(images)
    scaled = (images - mean[:, None, None]) / jnp.maximum(sigma, LEAST_SIGMA)[:, None, None, None]
    return scaled * reference.sigma + reference.mean[None, None, None]


def image_moments(images: Float[Array, "b h w 3"]) -> tuple[Float[Array, "b 3"], Float[Array, "b"]]:
    """(mean, sigma) of images: `PixelMoments` of each."""
    mean = images.mean((1, 2))
    return mean, jnp.sqrt(jnp.square(images - mean[:, None, None]).mean((1, 2, 3)))


def mean_moments(
    moments: Sequence[tuple[Float[np.ndarray | jax.Array, "_ 3"], Float[np.ndarray | jax.Array, "_"]]],
) -> PixelMoments:
    """The average of many images' moments, from chunks of them, summed in float64."""
    means, sigmas = (np.concatenate([np.asarray(part, np.float64) for part in parts]) for parts in zip(*moments))
    return PixelMoments(jnp.asarray(means.mean(0), jnp.float32), jnp.float32(sigmas.mean()))
