"""A detector's compiled program, kept in a folder for the next process, which then neither traces nor compiles it.

JAX's own cache spares the compiler alone: a program is traced and lowered before it is found there, which takes longer
than all else that scoring one image does. Here it is found by what it depends on, and used only if it is whole::

    bytes   0..7    magic
            8..39   SHA-256 of all that follows
           40..     one line of JSON, {"key": ..., "outputs": [...]}; then the executable as XLA serialises it

Nothing in it is a pickle. The hash shows damage, not forgery: the folder is trusted, as JAX's own is.
"""

import contextlib
import functools
import hashlib
import importlib.metadata
import json
import math
import os
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np
from absl import logging

from gnl_jax.detection.bound_program import Bound, Calling, Program
from gnl_jax.files import write_atomic
from gnl_jax.machine import processor, usable_cores
from gnl_jax.methods.base import Prediction
from gnl_jax.ops import host_sort, kept_value
from gnl_jax.ops.cpu_program import for_this_cpu

PyTree = Any
Score = Callable[[PyTree, np.ndarray | jax.Array], Prediction[jax.Array]]
MAGIC = b"\x89GNLP\r\n\n"
SUFFIX = ".program"
FORGOTTEN = 90 * 24 * 3600  # seconds after which a program that nobody used is removed
_HASHED_FROM = len(MAGIC) + hashlib.sha256().digest_size
_PACKAGE = Path(__file__).parents[1]
_SOURCES = ("ops", "images", "nn", "methods")  # what a scoring program is made of
_VERSIONS = ("gnl-jax", "jax", "jaxlib", "flax", "numpy")


def kept_score(make: Callable[[], Score], *, folder: Path | None, about: Mapping[str, Any]) -> Score:
    """A scoring function whose compiled program is read from a folder, or written there once it is compiled.

    A program that is damaged, or that this jaxlib cannot read, is compiled again. Where it cannot be kept, scoring
    goes on without. Several threads may call it, and it may be traced into another program. For one CPU: features are
    sorted by NumPy (`ops/host_sort.py`), wide maps are convolved in bands (`nn/bands.py`), sums are computed once
    (`ops/kept_value.py`), and the process does not end before the program has.

    Args:
        make: returns the function, to be jitted; called only where the folder has no program for the arguments.
        folder: where programs are kept; made if it is not there. None: the program is compiled and not kept.
        about: JSON-able: what the program depends on beside the shapes of its arguments, the code of this package,
            versions, processor and XLA's flags, which are all part of its key.
    """
    programs: dict[Any, Program] = {}
    lock = threading.Lock()
    last: list[Bound] = []  # the call before, which a detector's next one repeats

    def score(variables: PyTree, images: np.ndarray | jax.Array) -> Prediction[jax.Array]:
        leaves, tree = jax.tree.flatten(variables)
        if any(isinstance(x, jax.core.Tracer) for x in (*leaves, images)):  # part of another program
            return make()(variables, images)
        for bound in last:
            if bound.takes(leaves, tree, images):
                return bound.program.run(bound.arguments, images)
        shapes = (*((x.shape, x.dtype.name) for x in leaves), (images.shape, images.dtype.name))
        if (found := programs.get((tree, shapes))) is None:
            with lock:
                if (found := programs.get((tree, shapes))) is None:
                    if folder is None:
                        found = Program(*_compiled(make(), variables, images, keep=False))
                    else:
                        key = {"about": about, "tree": str(tree), "shapes": _plain(shapes), **surroundings()}
                        found = _find(make, folder, _plain(key), variables, images)
                    programs[tree, shapes] = found
        arguments = found.arguments(leaves)
        if all(isinstance(leaf, jax.Array) for leaf in leaves):  # NumPy's can change
            last[:] = [Bound(found, leaves, tree, images.shape, images.dtype, arguments)]
        return found.run(arguments, images)

    return score


def surroundings() -> dict[str, Any]:
    """What a program depends on beside itself: code, versions, processor, cores, settings."""
    return {
        "source": source_digest(),
        "versions": {name: _version(name) for name in _VERSIONS},
        "processor": processor(),
        "cores": usable_cores(),
        "devices": jax.device_count(),
        "flags": os.environ.get("XLA_FLAGS", ""),
        "x64": bool(jax.config.values["jax_enable_x64"]),
    }


@functools.cache
def source_digest() -> str:
    """SHA-256 of this package's code that scoring programs are made of."""
    digest = hashlib.sha256((_PACKAGE / "detection" / "detector.py").read_bytes())
    for name in _SOURCES:
        for path in sorted((_PACKAGE / name).glob("*.py")):
            digest.update(path.name.encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()


def pack_program(key: Mapping[str, Any], calling: Calling, executable: bytes) -> bytes:
    """The content of a program's file."""
    head = {"key": key, "outputs": calling.outputs, "orders": calling.orders}
    rest = json.dumps(head, sort_keys=True).encode() + b"\n" + executable
    return MAGIC + hashlib.sha256(rest).digest() + rest


def unpack_program(data: bytes, key: Mapping[str, Any]) -> tuple[Calling, bytes]:
    """(how it is called, executable). Raises ValueError for a file that is damaged, or of another program."""
    if not data.startswith(MAGIC):
        raise ValueError("no compiled program")
    if hashlib.sha256(memoryview(data)[_HASHED_FROM:]).digest() != data[len(MAGIC) : _HASHED_FROM]:
        raise ValueError("damaged or cut off (its SHA-256 differs)")
    end = data.index(b"\n", _HASHED_FROM)
    head = json.loads(data[_HASHED_FROM:end])
    if head["key"] != key:
        raise ValueError("the program of another detector, processor or version")
    orders = {int(i): tuple(order) for i, order in head["orders"].items()}
    return Calling(tuple(head["outputs"]), orders), data[end + 1 :]


def _find(make: Callable[[], Score], folder: Path, key: dict, variables: PyTree, images) -> Program:
    """The program of the folder, or a new one, which is then written there."""
    name = hashlib.sha256(json.dumps(key, sort_keys=True).encode()).hexdigest()[:32]
    path = folder / f"{name}{SUFFIX}"
    try:
        calling, data = unpack_program(path.read_bytes(), key)
        found = Program(calling, _deserialised(data))
        with contextlib.suppress(OSError):  # a folder to be read alone
            os.utime(path)
        return found
    except FileNotFoundError:
        pass
    except Exception as error:  # XLA's own errors have no common class
        logging.info("%s: %s; it is compiled again", path, error)
    calling, executable = _compiled(make(), variables, images, keep=True)
    score = Program(calling, executable)
    try:
        data = executable.serialize()
        again, expected = Program(calling, _deserialised(data))(variables, images), score(variables, images)
        for name, a, b in zip(Prediction._fields, again, expected, strict=True):
            if (a is None) != (b is None) or (a is not None and np.asarray(a).tobytes() != np.asarray(b).tobytes()):
                raise ValueError(f"read back, it returns another {name}")
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomic(path, pack_program(key, calling, data))
        _forget(path.parent)
    except Exception as error:  # as above; scoring does not need the file
        logging.info("%s: the compiled program is not kept: %s", path, error)
    return score


def _compiled(score: Score, variables: PyTree, images, *, keep: bool) -> tuple[Calling, Any]:
    """(how it is called, XLA's executable) of a function, written for this CPU."""
    from gnl_jax.detection.axis_order import orders_of, with_orders  # whose imports a kept program does not need

    def score_batch(variables: PyTree, images: jax.Array) -> Prediction[jax.Array]:
        return score(variables, images)

    with for_this_cpu():
        traced = jax.jit(score_batch, keep_unused=True).trace(variables, images)
    outputs = tuple(n for n, value in zip(Prediction._fields, traced.out_info, strict=True) if value is not None)
    calling = Calling(outputs, orders_of(traced.jaxpr, len(jax.tree.leaves(variables))))
    function, arguments = with_orders(traced.jaxpr, calling.orders)
    function.__name__ = "kept_score_batch" if keep else "score_batch"
    lowered = jax.jit(function, keep_unused=True).lower(*arguments)
    compiled = _compile(lowered) if keep else lowered.compile()
    return calling, compiled.runtime_executable()


def _compile(lowered: jax.stages.Lowered) -> jax.stages.Compiled:
    """Compiles, and leaves JAX's own cache out: what was read from there cannot be written again.

    Nothing named "kept_score_batch" is ever written there, so nothing is found.
    """
    name = "jax_persistent_cache_min_compile_time_secs"
    before = getattr(jax.config, name)
    jax.config.update(name, math.inf)
    try:
        return lowered.compile()
    finally:
        jax.config.update(name, before)


def _deserialised(data: bytes) -> Any:
    """An executable that XLA serialised."""
    from jaxlib import xla_client

    host_sort.register()
    kept_value.register()
    device = jax.devices()[0]
    return device.client.deserialize_executable(data, executable_devices=xla_client.DeviceList((device,)))


def _forget(folder: Path) -> None:
    """Removes programs that nobody used for long."""
    for path in folder.glob(f"*{SUFFIX}"):
        if time.time() - path.stat().st_mtime > FORGOTTEN:
            path.unlink(missing_ok=True)


def _version(name: str) -> str:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:  # run from its folder
        return ""


def _plain(value: Any) -> Any:
    """As JSON gives it back."""
    return json.loads(json.dumps(value))
