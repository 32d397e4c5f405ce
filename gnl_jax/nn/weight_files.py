"""Files of weights as arrays under their own keys: safetensors, npz, and PyTorch's with its own reader."""

import io
from collections.abc import Mapping
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import safetensors


def read_bytes(path: Path) -> bytes:
    """The content of a file. ValueError naming one that cannot be read or is empty."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise ValueError(f"{path}: {error.strerror}, expected a file of weights") from error
    if not data:
        raise ValueError(f"{path}: got an empty file, expected weights")
    return data


NETWORKS = ("bn", "decoder")  # networks of the published checkpoints of RD4AD and GNL


def _read_safetensors(data: bytes, path: Path) -> dict[str, np.ndarray]:
    types = {"F16": np.float16, "BF16": jnp.bfloat16, "F32": np.float32, "F64": np.float64, "I64": np.int64}
    try:
        tensors = safetensors.deserialize(data)
    except safetensors.SafetensorError as error:
        raise ValueError(f"{path}: got a damaged or cut safetensors file ({error}), expected a whole one") from error
    for key, tensor in tensors:
        if tensor["dtype"] not in types:
            raise ValueError(f"{path}: {key} has type {tensor['dtype']}, expected one of {', '.join(types)}")
    return {
        key: np.frombuffer(tensor["data"], types[tensor["dtype"]]).reshape(tensor["shape"]) for key, tensor in tensors
    }


def _read_npz(data: bytes, path: Path) -> dict[str, np.ndarray]:
    try:
        with np.load(io.BytesIO(data), allow_pickle=False) as arrays:
            return {key: arrays[key] for key in arrays.files}
    except Exception as error:  # BadZipFile, zlib.error, ValueError, ...: whichever part is damaged
        raise ValueError(f"{path}: got a damaged npz file ({error}), expected a whole one") from error


def _read_pth(data: bytes, path: Path) -> dict[str, np.ndarray]:
    try:
        import torch
    except ImportError as error:
        raise ValueError(
            f"{path}: needs PyTorch, expected `pip install gnl-jax[torch]` or the weights as .safetensors"
        ) from error
    try:
        # weights_only: a pickle from elsewhere may otherwise run anything.
        tensors = torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
    except Exception as error:  # UnpicklingError (with advice on how to load it all the same), RuntimeError, ...
        raise ValueError(
            f"{path}: got no file of plain weights ({type(error).__name__}), expected a state dict"
        ) from error
    if not isinstance(tensors, Mapping):
        raise ValueError(f"{path}: expected a flat state dict of tensors")
    # Checkpoints of a training hold a state dict for each network: {"bn": {...}, "decoder": {...}}.
    nested = {part: value for part, value in tensors.items() if part in NETWORKS and isinstance(value, Mapping)}
    flat = {k: v for k, v in tensors.items() if k not in nested}
    flat |= {f"{part}.{key}": value for part, inner in nested.items() for key, value in inner.items()}
    if not all(isinstance(value, torch.Tensor) for value in flat.values()):
        raise ValueError(f"{path}: expected a flat state dict of tensors")
    return {
        key: (value.float() if value.is_floating_point() else value).detach().numpy() for key, value in flat.items()
    }


READERS = {".safetensors": _read_safetensors, ".npz": _read_npz, ".pth": _read_pth}
