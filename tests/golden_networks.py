"""Weights and inputs behind tests/golden, made again from their seed, and readers of the golden values."""

import zlib
from pathlib import Path

import numpy as np

SEED = 7
FOLDER = Path(__file__).parent / "golden"
CASES = {"resnet18_32": ("resnet18", 32, 16), "wide_resnet50_2_64": ("wide_resnet50_2", 64, 4)}


def torch_key(path: tuple[str, ...]) -> str:
    """("layer1_0", "conv1", "kernel") -> "layer1.0.conv1.weight": the torch name of one of our arrays."""
    *modules, leaf = path
    modules = [
        m.replace("bn_layer_", "bn_layer.") if m.startswith("bn_layer_") else m.replace("_", ".") for m in modules
    ]
    leaf = {"kernel": "weight", "scale": "weight", "mean": "running_mean", "var": "running_var"}.get(leaf, leaf)
    return ".".join([*modules, leaf])


def to_torch_layout(array: np.ndarray) -> np.ndarray:
    """Our kernel layout to torch's: HWIO -> OIHW, and [2 2 in out] -> (in, out, 2, 2) for transposed convolutions."""
    if array.ndim < 4:
        return array
    return array.transpose(2, 3, 0, 1) if array.shape[:2] == (2, 2) else array.transpose(3, 2, 0, 1)


def _from_torch_shape(shape: tuple[int, ...]) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """The torch shape of one of our arrays and the permutation that leads from torch's layout to ours."""
    if len(shape) < 4:
        return shape, tuple(range(len(shape)))
    h, w, i, o = shape
    return ((i, o, h, w), (2, 3, 0, 1)) if (h, w) == (2, 2) else ((o, i, h, w), (2, 3, 1, 0))


def weight(part: str, path: tuple[str, ...], shape: tuple[int, ...]) -> np.ndarray:
    """The synthetic float64 value of one array, in our layout."""
    torch_shape, permutation = _from_torch_shape(shape)
    return torch_weight(part, torch_key(path), torch_shape).transpose(permutation)


def torch_weight(part: str, key: str, shape: tuple[int, ...]) -> np.ndarray:
    """The synthetic float64 value of one array under torch's name, in torch's layout."""
    x = np.random.default_rng([SEED, zlib.crc32(f"{part}.{key}".encode())]).standard_normal(shape)
    if key.endswith("running_var"):
        x = 1 + 0.2 * np.abs(x)
    elif key.endswith("running_mean"):
        x = 0.1 * x
    elif len(shape) == 1:
        x = 1 + 0.1 * x if key.endswith("weight") else 0.1 * x
    else:
        x = x * np.sqrt(2 / np.prod(shape[1:]))
    return x.astype(np.float32).astype(np.float64)


def inputs(size: int, batch: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Views [3 b s s 3], test images [2 s s 3], anchor [1 s s 3], float64."""
    rng = np.random.default_rng([SEED, 1])
    views = rng.standard_normal((3, batch, 3, size, size))
    test = rng.standard_normal((2, 3, size, size))
    anchor = 0.5 + 0.5 * rng.standard_normal((1, 3, size, size))
    return tuple(np.moveaxis(x.astype(np.float32).astype(np.float64), -3, -1) for x in (views, test, anchor))


def load(case: str) -> dict[str, np.ndarray]:
    return dict(np.load(FOLDER / f"{case}.npz"))
