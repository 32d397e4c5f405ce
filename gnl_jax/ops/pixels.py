"""Brightness, colour cast and contrast of whole images, brought to a reference."""

from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from gnl_jax.array_types import Array

LEAST_SIGMA = 1e-3  # of values in [0, 255]: an image of one value stays one


class PixelMoments(NamedTuple):
    """Mean of each channel, and the standard deviation around them over all channels."""

    mean: Float[Array, "3"]
    sigma: Float[Array, ""]


class PixelBounds(NamedTuple):
    """The least and the greatest moments that an image may keep; both the same where there is one reference."""

    least: PixelMoments
    most: PixelMoments


def match_moments(images: Float[Array, "b h w 3"], bounds: PixelBounds) -> Float[Array, "b h w 3"]:
    """Gives images the nearest mean within bounds in each channel, and the nearest contrast, one for all channels.

    A single contrast keeps the hue of what differs from the mean; the three means take away a colour cast.

    Args:
        images: in [0, 255].
        bounds: of the same range.

    Returns:
        Images whose values may leave [0, 255]; one within the bounds stays as it is.
    """
    mean, sigma = image_moments(images)
    nearest_mean = jnp.clip(mean, bounds.least.mean[None], bounds.most.mean[None])
    nearest_sigma = jnp.clip(sigma, bounds.least.sigma, bounds.most.sigma)
    scaled = (images - mean[:, None, None]) / jnp.maximum(sigma, LEAST_SIGMA)[:, None, None, None]
    moved = scaled * nearest_sigma[:, None, None, None] + nearest_mean[:, None, None]
    stays = (nearest_mean == mean).all(1) & (nearest_sigma == sigma)
    return jnp.where(stays[:, None, None, None], images, moved)


def image_moments(images: Float[Array, "b h w 3"]) -> tuple[Float[Array, "b 3"], Float[Array, "b"]]:
    """(mean, sigma) of images: `PixelMoments` of each."""
    mean = images.mean((1, 2))
    return mean, jnp.sqrt(jnp.square(images - mean[:, None, None]).mean((1, 2, 3)))


def mean_moments(mean: Float[np.ndarray, "n 3"], sigma: Float[np.ndarray, "n"]) -> PixelMoments:
    """The average of many images' moments, summed in float64."""
    return PixelMoments(
        jnp.asarray(mean.mean(0, dtype=np.float64), jnp.float32), jnp.float32(sigma.mean(dtype=np.float64))
    )


def moment_bounds(mean: Float[np.ndarray, "n 3"], sigma: Float[np.ndarray, "n"]) -> PixelBounds:
    """The least and the greatest of many images' moments, each channel's for itself."""
    least, most = (PixelMoments(jnp.asarray(of(mean, 0)), jnp.asarray(of(sigma, 0))) for of in (np.min, np.max))
    return PixelBounds(least, most)
