"""Teacher weights: the catalogue of published files, the readers, and what is checked on every load."""

import hashlib
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from absl import logging

from gnl_jax.nn.blocks import ARCHITECTURES
from gnl_jax.nn.resnet import init_teacher
from gnl_jax.nn.torch_keys import from_torch, torch_shapes
from gnl_jax.nn.vgg import init_source
from gnl_jax.nn.weight_files import READERS, read_bytes

CHOICES = "'bundled', 'imagenet', 'random', or a path to a .safetensors, .npz or .pth file"

# Beginnings of a file's keys that are of no use here. The published vgg16 file has the classifier of torchvision's as
# `pre_logits` and `head`.
UNUSED_BY_RESNET = ("layer4.", "fc.")
UNUSED_BY_VGG = ("classifier.", "pre_logits.", "head.")


class Published(NamedTuple):
    """Where the hub keeps `model.safetensors`, and the SHA-256 it must have."""

    repository: str
    revision: str
    sha256: str


# torchvision's IMAGENET1K_V1 weights under torchvision's keys (BSD-3-Clause by their model cards).
CATALOGUE = {
    "resnet18": Published(
        "timm/resnet18.tv_in1k",
        "a987fd6b60f845221bfff84b6f0191273ba56ead",
        "694f673df6520a3158624e8a89af086f59923ee4cd7436fe5bc3bc71d295ad81",
    ),
    "resnet50": Published(
        "timm/resnet50.tv_in1k",
        "aa6c2d36d56bc0209040c02b5a7b7d7bf11d57b8",
        "5d061a3c593d795bfe682d9b152bafbcf550579873492def3515b46db1189888",
    ),
    # Only the short form a616519 of the revision is known and the hub wants whole ones; `main` holds the same
    # file, and the SHA-256 pins it.
    "wide_resnet50_2": Published(
        "timm/wide_resnet50_2.tv_in1k",
        "main",
        "df6fb6c4824769769de18e14088475fd6ee94236849aa4e5d8022ba9d9a9a16c",
    ),
    "vgg16": Published(
        "timm/vgg16.tv_in1k",
        "3394518cba29aee1ea82a49d971be90d2dd1dab7",
        "57b026918159a6bf9faf8405c3a551903768e7138989d9c6224a14227203fad8",
    ),
}


# Weights inside this package, with their licence and origin beside them: architecture -> (file, SHA-256).
BUNDLED = {
    "resnet18": (
        "resnet18_imagenet_layers1-3.safetensors",
        "c598fc015ca0d0be21cc2a280d59231181d49c2c2e2824e30583799e16d6b99a",
    )
}


def load_teacher(arch: str, source: str, *, seed: int = 0) -> dict[str, Any]:
    """Variables of `ResNet(arch)`, float32: {"params", "batch_stats"}; for vgg16 of `Source()`: {"params"}.

    Args:
        arch: resnet18, resnet50, wide_resnet50_2 or vgg16.
        source: "bundled" (resnet18 alone: ImageNet weights inside this package), "imagenet" (downloaded once), "random"
            (the initialisation, for tests), a path (torchvision's keys, with or without layer4, fc and classifier), or
            "" as `resolve_source` says. The SHA-256 of bundled and downloaded weights is checked on every load.
        seed: of "random".

    Raises:
        ValueError: naming the source and what is wrong with it. Random weights are never substituted.
    """
    choices = (*ARCHITECTURES, "vgg16")
    if arch not in choices:
        raise ValueError(f"arch: got {arch!r}, expected one of {', '.join(choices)}")
    source = resolve_source(source, arch)
    if source == "random":
        return _init(jax.random.key(seed), arch)
    state_dict, name = load_state_dict(arch, source)
    try:
        ignore = UNUSED_BY_VGG if arch == "vgg16" else UNUSED_BY_RESNET
        variables = from_torch(state_dict, _expected(arch), ignore=ignore, source=name)
    except ValueError as error:
        for other in choices:
            if other != arch and _fits(state_dict, _expected(other)):
                raise ValueError(f"{name}: got the weights of {other}, expected {arch}") from error
        raise ValueError(f"{error} (expected the weights of {arch})") from error
    return jax.tree.map(jnp.asarray, variables)


def resolve_source(source: str, arch: str) -> str:
    """Where the teacher's weights come from: `source`, else GNL_JAX_TEACHER, else "bundled".

    Raises:
        ValueError: nothing says where, and none are bundled for this architecture; the choices are listed.
    """
    source = source or os.environ.get("GNL_JAX_TEACHER", "") or ("bundled" if arch in BUNDLED else "")
    if not source:
        raise ValueError(
            f"teacher.weights: got nothing for {arch}, expected {CHOICES} (or set GNL_JAX_TEACHER to one of them)"
        )
    return source


def load_state_dict(arch: str, source: str) -> tuple[dict[str, np.ndarray], str]:
    """Arrays under torch's keys from "bundled", "imagenet" (arch: a key of CATALOGUE) or a path, and the file's name.

    Raises ValueError naming the file if it is missing, unreadable, damaged or not the published one.
    """
    if source == "imagenet":
        path, data = read_published(CATALOGUE[arch], meant_for=arch, option="teacher.weights=imagenet")
    elif source == "bundled":
        path, data = _read_bundled(arch)
    else:
        path = Path(source).expanduser()
        if path.suffix not in READERS:
            raise ValueError(f"teacher weights {source!r}: expected {CHOICES}")
        data = read_bytes(path)
    logging.info("teacher weights: %s", path)
    return READERS[path.suffix](data, path), str(path)


def read_published(published: Published, *, meant_for: str, option: str) -> tuple[Path, bytes]:
    """The published file's path in the local cache, downloaded if need be, and its content.

    meant_for: the network, and option: what asked for the file, both for messages. Raises ValueError if the file
    cannot be had, or its SHA-256 is not the published one.
    """
    path = _download(published, option)
    return path, _checked(path, published.sha256, f"{meant_for}; delete it and try again")


def _checked(path: Path, sha256: str, meant_for: str) -> bytes:
    """The content of a file that must have this SHA-256."""
    data = read_bytes(path)
    found = hashlib.sha256(data).hexdigest()
    if found != sha256:
        raise ValueError(f"{path}: got SHA-256 {found}, expected {sha256} for {meant_for}")
    return data


def _read_bundled(arch: str) -> tuple[Path, bytes]:
    if arch not in BUNDLED:
        raise ValueError(f"teacher.weights: got 'bundled' for {arch}, expected it for {', '.join(BUNDLED)} alone")
    name, sha256 = BUNDLED[arch]
    path = Path(__file__).parent / "weights" / name
    return path, _checked(path, sha256, f"the bundled {arch}; install the package again")


def _init(key: jax.Array, arch: str) -> dict[str, Any]:
    return init_source(key) if arch == "vgg16" else init_teacher(key, arch)


def _expected(arch: str) -> dict[str, Any]:
    return jax.eval_shape(lambda: _init(jax.random.key(0), arch))


def _fits(state_dict: Mapping[str, np.ndarray], expected: Mapping[str, Any]) -> bool:
    shapes = torch_shapes(expected)
    return all(key in state_dict and state_dict[key].shape == shape for key, shape in shapes.items())


def is_cached(arch: str) -> bool:
    """Whether the weights that "imagenet" names are on this machine already; False without the hub client."""
    try:
        import huggingface_hub
    except ImportError:
        return False
    published = CATALOGUE[arch]
    found = huggingface_hub.try_to_load_from_cache(
        published.repository, "model.safetensors", revision=published.revision
    )
    return isinstance(found, str)


def _download(published: Published, option: str) -> Path:
    """The hub's copy in the local cache; if it is not there, downloaded, unless HF_HUB_OFFLINE is set."""
    try:
        import huggingface_hub
    except ImportError as error:
        raise ValueError(f"{option} needs the hub client, expected `pip install gnl-jax[hub]` or a path") from error
    file = (published.repository, "model.safetensors")
    # Asked for a file it has, the client may still open a connection (agent detection, in 2.4); this does not.
    cached = huggingface_hub.try_to_load_from_cache(*file, revision=published.revision)
    if isinstance(cached, str):
        return Path(cached)
    try:
        if os.environ.get("HF_HUB_OFFLINE", "").upper() in ("1", "ON", "YES", "TRUE"):
            raise OSError("HF_HUB_OFFLINE is set")
        return Path(huggingface_hub.hf_hub_download(*file, revision=published.revision))
    except Exception as error:  # the client's own errors, its HTTP library's, OSError
        raise ValueError(
            f"{option}: {published.repository} is not in the cache and cannot be downloaded "
            f"({_reason(error)}); expected a connection, or the path of a copy"
        ) from error


def _reason(error: Exception) -> str:
    """The first line of the message, or the type if there is none."""
    return str(error).partition("\n")[0].strip() or type(error).__name__
