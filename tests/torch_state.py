"""The inverse of `from_torch`, to write weights as the published code would."""

from collections.abc import Mapping
from typing import Any

import jax
import numpy as np
from flax.traverse_util import flatten_dict

from gnl_jax.nn.torch_keys import torch_shapes


def to_torch(variables: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """Float32 arrays under torch's keys, as its `load_state_dict` takes them.

    Kernels [k k c o] become [o c k k], those of 2x2 transposed convolutions [c o 2 2], matrices are transposed.
    """
    variables = jax.tree.map(lambda leaf: np.asarray(leaf, np.float32), variables)  # its keys in one order from here on
    leaves = flatten_dict(variables)
    state = {}
    for (path, leaf), (key, shape) in zip(leaves.items(), torch_shapes(variables).items(), strict=True):
        if path[-1] == "kernel":
            axes = (1, 0) if leaf.ndim == 2 else (2, 3, 0, 1) if leaf.shape[:2] == (2, 2) else (3, 2, 0, 1)
            leaf = leaf.transpose(axes)
        assert leaf.shape == shape, key
        state[key] = np.ascontiguousarray(leaf)
    return state
