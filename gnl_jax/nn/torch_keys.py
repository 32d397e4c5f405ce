"""State dicts in torch's names and layouts -> linen variables.

Our modules carry torch's names, a digit joined to the name before it: `layer1.0.downsample.1.running_var` is
batch_stats / layer1_0 / downsample_1 / var. Convolution kernels are (O, I, H, W) there and (H, W, I, O) here;
2x2 transposed convolutions (I, O, 2, 2) there and (2, 2, I, O) here, not flipped; dense kernels transposed.
"""

import re
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax.traverse_util import flatten_dict, unflatten_dict

LEAVES = {
    ("params", "kernel"): "weight",
    ("params", "scale"): "weight",
    ("params", "bias"): "bias",
    ("batch_stats", "mean"): "running_mean",
    ("batch_stats", "var"): "running_var",
    **{
        ("params", name): name
        for name in ("cls_token", "position_embeddings", "register_tokens", "lambda1")  # of a vision transformer
    },
}
SHOWN = 8  # problems spelled out in one error


def torch_shapes(expected: Mapping[str, Any]) -> dict[str, tuple[int, ...]]:
    """Torch's key and shape for every leaf of `expected`: a variables tree of arrays or ShapeDtypeStruct."""
    leaves = flatten_dict(expected)
    return {_key(path): _torch_shape(path, leaf.shape) for path, leaf in leaves.items()}


def from_torch(
    state_dict: Mapping[str, np.ndarray],
    expected: Mapping[str, Any],
    *,
    ignore: tuple[str, ...] = (),
    source: str = "state dict",
) -> dict[str, Any]:
    """Variables shaped as `expected` (float32 NumPy arrays) from a torch state dict.

    state_dict: arrays of float16, bfloat16, float32 or float64 under torch's keys. expected: the tree of
    `jax.eval_shape` of the module's init. Keys that begin with one of `ignore` and `num_batches_tracked` are
    passed over. Raises ValueError naming `source` and every key that is missing, has another shape or type,
    holds a NaN or an infinity, or has no place in `expected`.
    """
    shapes = torch_shapes(expected)
    found = [_problem(key, state_dict.get(key), shape) for key, shape in shapes.items()]
    extra = [key for key in state_dict if key not in shapes and not key.startswith(ignore)]
    found += [f"{key}: unexpected" for key in extra if not key.endswith(".num_batches_tracked")]
    problems = [problem for problem in found if problem]
    if problems:
        more = f"; and {len(problems) - SHOWN} more" if len(problems) > SHOWN else ""
        raise ValueError(f"{source}: {'; '.join(problems[:SHOWN])}{more}")

    def convert(path: tuple[str, ...], shape: tuple[int, ...]) -> np.ndarray:
        return np.ascontiguousarray(_float32(state_dict[_key(path)]).transpose(_axes(path, shape)))

    return unflatten_dict({path: convert(path, leaf.shape) for path, leaf in flatten_dict(expected).items()})


def _key(path: tuple[str, ...]) -> str:
    """Our path (collection, modules..., leaf) -> torch's key."""
    collection, *modules, leaf = path
    if (collection, leaf) not in LEAVES:
        raise ValueError(f"{'/'.join(path)}: no torch name is known for {leaf!r} in {collection!r}")
    return ".".join([re.sub(r"_(\d+)$", r".\1", module) for module in modules] + [LEAVES[collection, leaf]])


def _axes(path: tuple[str, ...], shape: tuple[int, ...]) -> tuple[int, ...]:
    """The transposition that turns torch's array into ours of this shape."""
    if path[-1] != "kernel":
        return tuple(range(len(shape)))
    if len(shape) == 2:
        return (1, 0)
    # No ordinary convolution in these networks is 2x2, so the shape tells the transposed ones.
    return (2, 3, 0, 1) if shape[:2] == (2, 2) else (2, 3, 1, 0)


def _torch_shape(path: tuple[str, ...], shape: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(shape[axis] for axis in np.argsort(_axes(path, shape)))


def _float32(array: Any) -> np.ndarray:
    with np.errstate(over="ignore"):  # a float64 beyond float32 becomes inf, which is reported by its key
        return np.asarray(array).astype(np.float32)


def _problem(key: str, array: np.ndarray | None, shape: tuple[int, ...]) -> str | None:
    if array is None:
        return f"{key}: missing, expected shape {shape}"
    if array.shape != shape:
        return f"{key}: got shape {array.shape}, expected {shape}"
    if not jnp.issubdtype(array.dtype, jnp.floating):
        return f"{key}: got type {array.dtype}, expected floats"
    if not np.isfinite(_float32(array)).all():
        return f"{key}: holds a NaN or an infinity"
    return None


def to_torch(variables: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """The inverse of `from_torch`: float32 arrays under torch's keys, as its `load_state_dict` takes them.

    Kernels [k k c o] become [o c k k], those of 2x2 transposed convolutions [c o 2 2], matrices are transposed.
    """
    variables = jax.tree.map(lambda leaf: np.asarray(leaf, np.float32), variables)  # its keys in one order from here on
    leaves = flatten_dict(variables)
    state = {}
    for (path, leaf), (key, shape) in zip(leaves.items(), torch_shapes(variables).items(), strict=True):
        if path[-1] == "kernel":
            axes = (1, 0) if leaf.ndim == 2 else (2, 3, 0, 1) if leaf.shape[:2] == (2, 2) else (3, 2, 0, 1)
            leaf = leaf.transpose(axes)
        if leaf.shape != shape:
            raise ValueError(f"{key}: got shape {leaf.shape}, expected {shape}")
        state[key] = np.ascontiguousarray(leaf)
    return state
