"""Weights of DINOv2: the published file, a file under the published keys, or random ones from a seed."""

import functools
import re
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from absl import logging
from flax.traverse_util import flatten_dict, unflatten_dict

from gnl_jax.nn.dinov2 import PATCH, VARIANTS, DinoV2, Variant, variant
from gnl_jax.nn.pretrained import Published, read_published
from gnl_jax.nn.torch_keys import from_torch, torch_shapes
from gnl_jax.nn.transformer import SMALL
from gnl_jax.nn.weight_files import READERS, read_bytes

# Apache-2.0 by its model card. An older revision's card said CC-BY-NC: the revision matters.
CATALOGUE: Mapping[str, Published] = MappingProxyType(
    {
        "dinov2_vits14": Published(
            "facebook/dinov2-small",
            "ed25f3a31f01632728cabb09d1542f84ab7b0056",
            "ae1e99fcefd534ed978cdeb8326f08030c96e28b7a81ffcbc98a857c84d14be1",
        ),
    }
)
CHOICES = "'pretrained', 'random', or a path to a .safetensors, .npz or .pth file"

PREFIX = "dinov2."  # of every key but the classifier's, in a file of a classifier built on DINOv2
CONSTANT = MappingProxyType({"bias": 0.0, "scale": 1.0, "lambda1": 1.0})  # leaves of the initialisation, others random
UNUSED = ("embeddings.mask_token", "classifier.")
# transformers 5 names the maps of attention otherwise in memory than in the files that it writes.
IN_MEMORY = MappingProxyType(
    {
        "q_proj": "attention.query",
        "k_proj": "attention.key",
        "v_proj": "attention.value",
        "o_proj": "output.dense",
    }
)


def load_dinov2(name: str, source: str, *, seed: int = 0) -> dict[str, Any]:
    """Variables of `DinoV2(VARIANTS[name])`, float32.

    Args:
        name: a key of `VARIANTS`.
        source: "pretrained" (downloaded once, SHA-256 checked on every load; the names in `CATALOGUE`), "random"
            (the initialisation, from `seed`; for tests), or a path (the keys of transformers' Dinov2Model or
            Dinov2WithRegistersModel, with or without "dinov2." before them and a classifier).
        seed: of "random".

    Returns:
        {"params": ...}.

    Raises:
        ValueError: an unknown name or source; a file that is missing, damaged or not the published one; every key
            that is missing, unexpected, of another shape or type, or not finite; another variant's weights.
    """
    sizes = variant(name)
    if source == "random":
        return init_dinov2(jax.random.key(seed), sizes)
    tensors, path = _read(name, source)
    state_dict, where = _published_keys(tensors, path)
    try:
        variables = from_torch(state_dict, _expected(sizes), ignore=UNUSED, source=where)
    except ValueError as error:
        for other, theirs in VARIANTS.items():
            if other != name and _is_of(state_dict, theirs):
                raise ValueError(f"{where}: got the weights of {other}, expected {name}") from error
        raise ValueError(f"{error} (expected the weights of {name})") from error
    return jax.tree.map(jnp.asarray, variables)


def init_dinov2(key: jax.Array, sizes: Variant) -> dict[str, Any]:
    """Random variables of `DinoV2(sizes)` as its own `init` distributes them, leaf by leaf.

    Normal with deviation 0.02, cut at two deviations; biases 0, scales 1. `init` itself would compile one large
    program, which takes 13 s of CPU time for ViT-S.
    """
    variables = {}
    for position, (path, leaf) in enumerate(flatten_dict(_expected(sizes)).items()):
        if path[-1] in CONSTANT:
            variables[path] = jnp.full(leaf.shape, CONSTANT[path[-1]])
        else:
            variables[path] = _small(jax.random.fold_in(key, position), leaf.shape)
    return unflatten_dict(variables)


@functools.partial(jax.jit, static_argnums=1)
def _small(key: jax.Array, shape: tuple[int, ...]) -> jax.Array:
    return SMALL(key, shape)


def _read(name: str, source: str) -> tuple[dict[str, np.ndarray], str]:
    """Arrays as the file has them, and its path."""
    if source == "pretrained":
        if name not in CATALOGUE:
            raise ValueError(
                f"{name}: no published file is known for 'pretrained', only for {', '.join(CATALOGUE)}; "
                "expected the path of a file"
            )
        path, data = read_published(CATALOGUE[name], meant_for=name, option=f"'pretrained' for {name}")
    else:
        path = Path(source).expanduser()
        if path.suffix not in READERS:
            raise ValueError(f"weights of {name}: got {source!r}, expected {CHOICES}")
        data = read_bytes(path)
    logging.info("weights of %s: %s", name, path)
    return READERS[path.suffix](data, path), str(path)


def _published_keys(tensors: Mapping[str, np.ndarray], path: str) -> tuple[dict[str, np.ndarray], str]:
    """The arrays under the published files' keys, and where they are, for messages."""
    where = path
    if any(key.startswith(PREFIX) for key in tensors):
        where = f"{path}, {PREFIX}"
        tensors = {key.removeprefix(PREFIX): array for key, array in tensors.items()}
    rename = functools.partial(re.sub, r"(?<=\.attention\.)([qkvo]_proj)(?=\.)", lambda found: IN_MEMORY[found[1]])
    return {rename(key): array for key, array in tensors.items()}, where


def _expected(sizes: Variant) -> dict[str, Any]:
    return jax.eval_shape(lambda: DinoV2(sizes).init(jax.random.key(0), jnp.zeros((1, PATCH, PATCH, 3))))


def _is_of(state_dict: Mapping[str, np.ndarray], sizes: Variant) -> bool:
    found = {key: array.shape for key, array in state_dict.items() if not key.startswith(UNUSED)}
    return found == torch_shapes(_expected(sizes))
