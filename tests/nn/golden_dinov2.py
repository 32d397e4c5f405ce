"""Weights and images behind tests/golden/dinov2.npz, made again from a seed; NumPy alone."""

import zlib

import numpy as np

SEED = 11
SIZES = ((224, 224), (448, 448), (518, 518), (322, 168))  # h, w


def weight(key: str, shape: tuple[int, ...]) -> np.ndarray:
    """The float32 value of one array under its key in the published files, in torch's layout."""
    x = np.random.default_rng([SEED, zlib.crc32(key.encode())]).standard_normal(shape, np.float32)
    if key.endswith("lambda1") or (key.endswith("weight") and len(shape) == 1):
        return (1 + 0.2 * x).astype(np.float32)  # of a LayerNorm or a layer scale
    if key.endswith(".weight"):
        return (x * np.sqrt(1 / np.prod(shape[1:]))).astype(np.float32)
    return (0.5 * x).astype(np.float32)


def images(height: int, width: int, batch: int = 1) -> np.ndarray:
    """float32 [batch height width 3]."""
    return np.random.default_rng([SEED, height, width]).standard_normal((batch, height, width, 3), np.float32)


def digest(tokens: np.ndarray) -> np.ndarray:
    """Four sums over all tokens with random signs, [b t c] -> [b 4 c]: a token that differs shows in each."""
    signs = np.random.default_rng([SEED, tokens.shape[1]]).choice((-1.0, 1.0), (4, tokens.shape[1]))
    return np.einsum("mt,btc->bmc", signs, tokens) / np.sqrt(tokens.shape[1])
