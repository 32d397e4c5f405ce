"""Weights of DINOv2: random ones from a seed, and the names that published files give to ours."""

import functools
import re
from types import MappingProxyType
from typing import Any

import jax
import jax.numpy as jnp
from flax.traverse_util import flatten_dict, unflatten_dict

from gnl_jax.array_types import Array
from gnl_jax.nn.dinov2 import PATCH, DinoV2, Variant
from gnl_jax.nn.transformer import SMALL

PREFIX = "dinov2."  # of every key but the classifier's, in a file of a classifier built on DINOv2
UNUSED = ("embeddings.mask_token", "classifier.")
CONSTANT = MappingProxyType({"bias": 0.0, "scale": 1.0, "lambda1": 1.0})  # leaves of the initialisation, others random
# transformers 5 names the maps of attention otherwise in memory than in the files that it writes.
IN_MEMORY = MappingProxyType(
    {
        "q_proj": "attention.query",
        "k_proj": "attention.key",
        "v_proj": "attention.value",
        "o_proj": "output.dense",
    }
)


def published_key(key: str) -> str:
    """The published file's key for one of a classifier's file, or of transformers' Dinov2Model in memory."""
    key = key.removeprefix(PREFIX)
    return re.sub(r"(?<=\.attention\.)([qkvo]_proj)(?=\.)", lambda found: IN_MEMORY[found[1]], key)


def init_dinov2(key: Array, sizes: Variant) -> dict[str, Any]:
    """Random variables of `DinoV2(sizes)` as its own `init` distributes them, leaf by leaf.

    Normal with deviation 0.02, cut at two deviations; biases 0, scales 1. `init` itself would compile one large
    program, which takes 13 s of CPU time for ViT-S.
    """
    shapes = jax.eval_shape(lambda: DinoV2(sizes).init(jax.random.key(0), jnp.zeros((1, PATCH, PATCH, 3))))
    variables = {}
    for position, (path, leaf) in enumerate(flatten_dict(shapes).items()):
        if path[-1] in CONSTANT:
            variables[path] = jnp.full(leaf.shape, CONSTANT[path[-1]])
        else:
            variables[path] = _small(jax.random.fold_in(key, position), leaf.shape)
    return unflatten_dict(variables)


@functools.partial(jax.jit, static_argnums=1)
def _small(key: Array, shape: tuple[int, ...]) -> Array:
    return SMALL(key, shape)
