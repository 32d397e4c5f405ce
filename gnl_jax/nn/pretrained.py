"""Teacher weights: where they come from, and what is checked on every load."""

import functools
import hashlib
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from absl import logging

from gnl_jax.nn.teachers import TEACHERS, Published, Teacher, teacher_record
from gnl_jax.nn.torch_keys import from_torch, torch_shapes
from gnl_jax.nn.weight_files import READERS, read_bytes

SOURCES = ("bundled", "imagenet", "pretrained", "random")  # words that are no path; each teacher has some of them


def load_teacher(arch: str, source: str, *, seed: int = 0) -> dict[str, Any]:
    """Variables of the module of `TEACHERS[arch]`, float32: {"params"}, and {"batch_stats"} of a ResNet.

    Args:
        arch: a key of `TEACHERS`.
        source: "bundled" (ImageNet weights inside this package, of resnet18 alone), "imagenet" or, for DINOv2,
            "pretrained" (the published file, downloaded once), "random" (the initialisation, for tests), a path
            (torchvision's keys, with or without layer4, fc and classifier; of DINOv2 the keys of transformers'
            Dinov2Model or Dinov2WithRegistersModel, with or without "dinov2." before them and a classifier), or "" as
            `resolve_source` says. The SHA-256 of bundled and downloaded weights is checked on every load.
        seed: of "random".

    Raises:
        ValueError: naming the source and what is wrong with it. Random weights are never substituted.
    """
    teacher = teacher_record(arch)
    source = resolve_source(source, arch)
    if source == "random":
        return teacher.init(jax.random.key(seed))
    state_dict, name = load_state_dict(arch, source)
    state_dict = {teacher.key(key): array for key, array in state_dict.items()}
    try:
        variables = from_torch(state_dict, _expected(teacher), ignore=teacher.ignore, source=name)
    except ValueError as error:
        for other in TEACHERS:
            if other != arch and _is_of(state_dict, TEACHERS[other]):
                raise ValueError(f"{name}: got the weights of {other}, expected {arch}") from error
        raise ValueError(f"{error} (expected the weights of {arch})") from error
    return jax.tree.map(jnp.asarray, variables)


def resolve_source(source: str, arch: str) -> str:
    """Where the teacher's weights come from: `source`, else GNL_JAX_TEACHER, else "bundled".

    Raises:
        ValueError: nothing says where, and none are bundled for this architecture; the choices are listed.
    """
    source = source or os.environ.get("GNL_JAX_TEACHER", "") or ("bundled" if teacher_record(arch).bundled else "")
    if not source:
        raise _nothing(arch, " (or set GNL_JAX_TEACHER to one of them)")
    return source


def named_source(arch: str) -> str:
    """Where the weights of a teacher come from that was requested by its name: "bundled", else its published file.

    The name is a choice of its own, so GNL_JAX_TEACHER, which is a default, does not change it.

    Raises:
        ValueError: none are bundled and no published file is known; the choices are listed.
    """
    teacher = teacher_record(arch)
    if teacher.bundled:
        return "bundled"
    if not teacher.published:
        raise _nothing(arch)
    return teacher.source


def _nothing(arch: str, more: str = "") -> ValueError:
    return ValueError(f"teacher.weights: got nothing for {arch}, expected {_choices(arch)}{more}")


def _choices(arch: str) -> str:
    words = ", ".join(map(repr, teacher_record(arch).sources()))
    return f"{words}, or a path to a .safetensors, .npz or .pth file"


def load_state_dict(arch: str, source: str) -> tuple[dict[str, np.ndarray], str]:
    """Arrays under torch's keys from "bundled", "imagenet", "pretrained" or a path, and the file's name.

    Raises ValueError naming the file if it is missing, unreadable, damaged or not the published one.
    """
    if source in ("imagenet", "pretrained"):
        path, data = _read_published(arch, source)
    elif source == "bundled":
        path, data = _read_bundled(arch)
    else:
        path = Path(source).expanduser()
        if path.suffix not in READERS:
            raise ValueError(f"teacher weights {source!r}: expected {_choices(arch)}")
        data = read_bytes(path)
    logging.info("teacher weights: %s", path)
    return READERS[path.suffix](data, path), str(path)


def _read_published(arch: str, source: str) -> tuple[Path, bytes]:
    """The published file's path in the local cache, downloaded if need be, and its content."""
    published = teacher_record(arch).published if teacher_record(arch).source == source else None
    if published is None:
        able = ", ".join(name for name, teacher in TEACHERS.items() if source in teacher.sources())
        raise ValueError(f"teacher.weights: got {source!r} for {arch}, expected it for one of {able}")
    path = _download(published, f"teacher.weights={source}")
    return path, _checked(path, published.sha256, f"{arch}; delete it and try again")


def _checked(path: Path, sha256: str, meant_for: str) -> bytes:
    """The content of a file that must have this SHA-256."""
    data = read_bytes(path)
    found = hashlib.sha256(data).hexdigest()
    if found != sha256:
        raise ValueError(f"{path}: got SHA-256 {found}, expected {sha256} for {meant_for}")
    return data


def _read_bundled(arch: str) -> tuple[Path, bytes]:
    bundled = teacher_record(arch).bundled
    if bundled is None:
        able = ", ".join(name for name, teacher in TEACHERS.items() if teacher.bundled)
        raise ValueError(f"teacher.weights: got 'bundled' for {arch}, expected it for {able} alone")
    name, sha256 = bundled
    path = Path(__file__).parent / "weights" / name
    return path, _checked(path, sha256, f"the bundled {arch}; install the package again")


@functools.cache
def _expected(teacher: Teacher) -> dict[str, Any]:
    return jax.eval_shape(lambda: teacher.init(jax.random.key(0)))


def _is_of(state_dict: Mapping[str, np.ndarray], teacher: Teacher) -> bool:
    """Whether a file holds this teacher's arrays: all of them, and none besides that it would not pass over."""
    unused = tuple(teacher.ignore)
    found = {key: array.shape for key, array in state_dict.items() if not key.startswith(unused)}
    shapes = {key: shape for key, shape in found.items() if not key.endswith(".num_batches_tracked")}
    return shapes == torch_shapes(_expected(teacher))


def is_cached(arch: str) -> bool:
    """Whether a teacher's published weights are on this machine already; False without the hub client."""
    try:
        import huggingface_hub
    except ImportError:
        return False
    published = teacher_record(arch).published
    if published is None:
        return False
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
