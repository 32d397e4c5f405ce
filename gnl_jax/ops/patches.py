"""Patch embeddings of a network's stages, and the map that their distances make."""

import functools
from collections.abc import Sequence

import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Float, Float64

from gnl_jax.array_types import Array, Stages
from gnl_jax.ops.scoremap import gaussian_matrix


def average_3x3(features: Float[Array, "b h w c"]) -> Float[Array, "b h w c"]:
    """Mean over each position's 3x3 neighbourhood, zeros outside.

    Always a ninth of the sum, as published: patches at the border are nearer to zero and to each other.
    """
    for axis in (1, 2):
        n = features.shape[axis]
        padded = jnp.pad(features, [(1, 1) if i == axis else (0, 0) for i in range(4)])
        before, here, after = (lax.slice_in_dim(padded, i, i + n, axis=axis) for i in range(3))
        features = (before + here + after) / 3
    return features


@functools.lru_cache(maxsize=64)
def half_pixel_matrix(size_out: int, size_in: int) -> Float64[np.ndarray, "{size_out} {size_in}"]:
    """Linear interpolation between pixel centres, edges repeated.

    Output i reads (i + 0.5) size_in / size_out - 0.5, as torch's `interpolate(align_corners=False)`.
    """
    source = np.clip((np.arange(size_out) + 0.5) * size_in / size_out - 0.5, 0, size_in - 1)
    low = np.minimum(source.astype(int), max(size_in - 2, 0))
    matrix = np.zeros((size_out, size_in))
    rows = np.arange(size_out)
    matrix[rows, low] += 1 - (source - low)
    matrix[rows, np.minimum(low + 1, size_in - 1)] += source - low
    return matrix


def _resample(rows: np.ndarray, columns: np.ndarray, maps: Array) -> Array:
    """R M C^T of maps [b h w ...] at full float32 precision."""
    left, right = (jnp.asarray(matrix, maps.dtype) for matrix in (rows, columns))
    return jnp.einsum("hi,bij...,wj->bhw...", left, maps, right, precision=lax.Precision.HIGHEST)


def patch_embedding(stages: Stages) -> Float[Array, "b h w c"]:
    """Stages averaged over 3x3, brought to the finest one's grid and concatenated: c is the sum of theirs.

    References:
        Roth et al., CVPR 2022, as anomalib's PatchcoreModel computes it.
    """
    pooled = [average_3x3(stage.astype(jnp.promote_types(stage.dtype, jnp.float32))) for stage in stages]
    h, w = max(stage.shape[1:3] for stage in pooled)
    return jnp.concatenate(
        [
            stage
            if stage.shape[1:3] == (h, w)
            else _resample(half_pixel_matrix(h, stage.shape[1]), half_pixel_matrix(w, stage.shape[2]), stage)
            for stage in pooled
        ],
        axis=-1,
    )


def token_embedding(stages: Sequence[Float[Array, "b h w _"]]) -> Float[Array, "b h w c"]:
    """Stages of one grid as they are, concatenated, such as a transformer's blocks: c is the sum of theirs."""
    return jnp.concatenate([stage.astype(jnp.promote_types(stage.dtype, jnp.float32)) for stage in stages], axis=-1)


def pooled_embedding(stages: Stages) -> Float[Array, "b 1 1 c"]:
    """The whole image as one patch: each stage's mean over its positions, concatenated: c is the sum of theirs."""
    wide = [stage.astype(jnp.promote_types(stage.dtype, jnp.float32)) for stage in stages]
    return jnp.concatenate([stage.mean((1, 2), keepdims=True) for stage in wide], axis=-1)


def flattened_embedding(stages: Stages) -> Float[Array, "b 1 1 n"]:
    """The whole image as one patch: each stage as it is, concatenated: n numbers in all."""
    wide = [stage.astype(jnp.promote_types(stage.dtype, jnp.float32)) for stage in stages]
    return jnp.concatenate([stage.reshape(stage.shape[0], 1, 1, -1) for stage in wide], axis=-1)


# "class": the stages are class tokens, [b 1 1 c_k] each.
EMBEDDINGS = {
    "patches": patch_embedding,
    "tokens": token_embedding,
    "pooled": pooled_embedding,
    "flattened": flattened_embedding,
    "class": token_embedding,
}


@functools.lru_cache(maxsize=64)
def _smooth_matrix(size_out: int, size_in: int) -> np.ndarray:
    return gaussian_matrix(size_out) @ half_pixel_matrix(size_out, size_in)


def distance_map(distances: Float[Array, "b h w"], *, size: tuple[int, int]) -> Float[Array, "b {size[0]} {size[1]}"]:
    """Distances of patches, interpolated to `size` pixels (height, width) and smoothed with a Gaussian of 4 px."""
    rows, columns = (_smooth_matrix(n, m) for n, m in zip(size, distances.shape[1:], strict=True))
    return _resample(rows, columns, distances)
