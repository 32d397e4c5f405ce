"""Functions of the host that a compiled program calls on a CPU, on arrays in place."""

import ctypes
from collections.abc import Sequence
from typing import Any

import jax

from gnl_jax.array_types import Array

_STATUS_RETURNING = 3  # XLA's API_VERSION_STATUS_RETURNING_UNIFIED: (out, operands, text, its length, status)


def register(target: str, function: Any) -> None:
    """Lets programs of this process call a C function (ctypes) by this name, also a program kept by another process."""
    new = ctypes.pythonapi.PyCapsule_New
    new.restype, new.argtypes = ctypes.py_object, [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_void_p]
    capsule: Any = new(ctypes.cast(function, ctypes.c_void_p), b"xla._CUSTOM_CALL_TARGET", None)
    jax.ffi.register_ffi_target(target, capsule, platform="cpu", api_version=0)


def in_place(target: str, arrays: Sequence[Array], *, text: str, vmap_method: str) -> Sequence[Array]:
    """What a registered function has made of arrays. `text` is given to it; `vmap_method` as in `jax.ffi.ffi_call`."""
    call = jax.ffi.ffi_call(
        target,
        [jax.ShapeDtypeStruct(x.shape, x.dtype) for x in arrays],
        vmap_method=vmap_method,
        input_output_aliases={i: i for i in range(len(arrays))},
        custom_call_api_version=_STATUS_RETURNING,
        legacy_backend_config=text,
    )
    return call(*arrays)
