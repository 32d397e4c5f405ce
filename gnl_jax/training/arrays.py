"""A pytree of arrays in one safetensors file."""

from pathlib import Path
from typing import Any

import flax.traverse_util
import jax.numpy as jnp
import numpy as np
import safetensors.numpy

from gnl_jax.files import write_atomic


def save_arrays(path: str | Path, tree: dict[str, Any]) -> None:
    """Writes nested dicts of arrays of NumPy's own number types, atomically; names are joined by "/".

    Raises ValueError naming an array of another type.
    """
    flat = flax.traverse_util.flatten_dict(tree, sep="/")
    arrays = {name: np.require(array, requirements="C") for name, array in flat.items()}
    for name, array in arrays.items():
        if array.dtype.kind not in "biufc":
            raise ValueError(f"{path}: {name} has type {array.dtype}, expected numbers that NumPy itself knows")
    write_atomic(path, safetensors.numpy.save(arrays))


def load_arrays(path: str | Path) -> dict[str, Any]:
    """Reads what `save_arrays` wrote, bit-equal. Raises ValueError naming a file that cannot be read."""
    try:
        flat = safetensors.numpy.load(Path(path).read_bytes())
    except (OSError, safetensors.SafetensorError) as error:
        raise ValueError(f"{path}: {error}; expected the arrays of an earlier run") from error
    return flax.traverse_util.unflatten_dict({name: jnp.asarray(array) for name, array in flat.items()}, sep="/")
