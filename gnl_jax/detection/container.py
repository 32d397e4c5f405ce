"""The file a detector is shipped in: no pickle, no archive; damage anywhere is found before anything is parsed.

::

    bytes   0..7    magic
            8..39   SHA-256 of all that follows
           40..43   format version, uint32, little-endian as all numbers here
           44..59   the version of gnl_jax that this format needs, ASCII, filled up with zeros
           60..83   lengths of the three parts, uint64 each
           84..     manifest (JSON), arrays (safetensors), program (StableHLO as jax.export writes it, or nothing)

deploy/runtime.py, which is shipped alone and may import nothing of this package, reads it a second time; the tests
hold both to the same results and the same refusals.

It protects against damage, not against forgery: whoever can write the file can write its hash too.
"""

import hashlib
import json
import os
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import safetensors.numpy

from gnl_jax.files import write_atomic

MAGIC = b"\x89GNL\r\n\x1a\n"  # as PNG's: a transfer as text or to 7 bits shows at once
VERSION = 1
NEEDS = "0.1.0"  # the first gnl_jax that reads VERSION
HEADER = struct.Struct("<8s32sI16sQQQ")
_HASHED_FROM = 40


class ArtifactError(ValueError):
    """A file that is no detector, is damaged, or is of a newer version; the message names it."""


class Container(NamedTuple):
    """What a file holds: the manifest as JSON gives it, arrays by name, the program's bytes or b""."""

    manifest: dict[str, Any]
    arrays: dict[str, np.ndarray]
    program: bytes = b""


def pack(manifest: Mapping[str, Any], arrays: Mapping[str, np.ndarray], program: bytes = b"") -> bytes:
    """The content of the file; equal input gives equal bytes. ValueError for what JSON cannot hold exactly."""
    text = json.dumps(manifest, sort_keys=True, allow_nan=False, ensure_ascii=True).encode()
    tensors = safetensors.numpy.save({name: np.require(a, requirements="C") for name, a in sorted(arrays.items())})
    rest = HEADER.pack(MAGIC, b"", VERSION, NEEDS.encode(), len(text), len(tensors), len(program))[_HASHED_FROM:]
    rest += text + tensors + program
    return MAGIC + hashlib.sha256(rest).digest() + rest


def unpack(data: bytes, *, name: str) -> Container:
    """Reads what `pack` wrote. Raises ArtifactError naming the file and what is wrong with it."""
    if len(data) < HEADER.size or not data.startswith(MAGIC):
        raise ArtifactError(f"{name}: got another kind of file or a damaged one, expected a detector of gnl_jax")
    _, digest, version, needs, *lengths = HEADER.unpack_from(data)
    if hashlib.sha256(memoryview(data)[_HASHED_FROM:]).digest() != digest:
        raise ArtifactError(f"{name}: damaged or cut off (its SHA-256 differs), expected a whole file")
    if version > VERSION:
        needed = needs.rstrip(b"\0").decode("ascii", "replace")
        raise ArtifactError(f"{name}: got format {version}, expected {VERSION} or older; it needs gnl_jax {needed}")
    parts, start = [], HEADER.size
    for length in lengths:
        parts.append(data[start : start + length])
        start += length
    if start != len(data):
        raise ArtifactError(f"{name}: got {len(data)} bytes, expected {start} by its own account")
    try:
        return Container(json.loads(parts[0]), safetensors.numpy.load(parts[1]), parts[2])
    except (ValueError, safetensors.SafetensorError) as error:
        raise ArtifactError(f"{name}: {error}; expected the manifest and arrays of a detector") from error


def write_container(path: str | os.PathLike, container: Container) -> None:
    """Writes the file, whole or not at all. Raises OSError naming it."""
    write_atomic(path, pack(*container))


def read_container(path: str | os.PathLike) -> Container:
    """Reads the file. Raises ArtifactError naming it."""
    try:
        data = Path(path).read_bytes()
    except OSError as error:
        raise ArtifactError(f"{os.fsdecode(path)}: {error.strerror}, expected a detector of gnl_jax") from error
    return unpack(data, name=os.fsdecode(path))
