"""The run folder: one process at a time, files whole or absent, and the config that resuming must match."""

import contextlib
import fcntl
import json
import math
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import ml_collections

from gnl_jax.config import default_config


@contextlib.contextmanager
def open_workdir(path: str | os.PathLike, *, shared: bool = False) -> Iterator[Path]:
    """Creates the folder if need be and holds it for this process alone until the block or the process ends.

    The lock is `flock` on `.lock`, which the kernel frees however the process ends; the file itself stays and
    says who held it last. Raises ValueError if the folder cannot be written or another process, named by its
    id, holds it. `shared`: another process of the same run holds it, so nothing is done.
    """
    folder = Path(path).expanduser()
    if shared:
        yield folder
        return
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = os.open(folder / ".lock", os.O_RDWR | os.O_CREAT, 0o666)
    except OSError as error:
        raise ValueError(f"workdir {folder}: {error.strerror}, expected a folder to write in") from error
    try:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            holder = os.pread(lock, 32, 0).decode() or "unknown"
            raise ValueError(f"workdir {folder}: in use by process {holder}, expected a free one") from error
        os.ftruncate(lock, 0)
        os.pwrite(lock, str(os.getpid()).encode(), 0)
        for left_by_a_kill in folder.glob(".*.tmp"):
            left_by_a_kill.unlink()
        try:
            yield folder
        finally:
            # Closing alone would leave the lock with any child forked in the meantime.
            fcntl.flock(lock, fcntl.LOCK_UN)
    finally:
        os.close(lock)


def write_atomic(path: str | os.PathLike, data: bytes | str) -> None:
    """Replaces the file in one step: readers, after a crash too, find the old content or the new.

    Text is written as UTF-8. Raises OSError naming the file; what was there before is then untouched.
    """
    path = Path(path)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with open(temporary, "wb") as file:
            file.write(data.encode() if isinstance(data, str) else data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
        # The rename itself reaches the disk with the folder.
        folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(path)) from error
    finally:
        temporary.unlink(missing_ok=True)


def plain_config(config: Mapping[str, Any], *, name: str = "") -> dict[str, Any]:
    """The config as nested dicts of None, bool, int, finite float, str and lists: what JSON holds exactly.

    Raises ValueError naming the field that holds anything else.
    """
    return {str(key): _plain(value, name=f"{name}{key}") for key, value in config.items()}


def _plain(value: Any, *, name: str) -> Any:
    if isinstance(value, Mapping | ml_collections.ConfigDict):
        return plain_config(value, name=f"{name}.")
    if isinstance(value, tuple | list):
        return [_plain(item, name=f"{name}[{i}]") for i, item in enumerate(value)]
    finite = type(value) is float and math.isfinite(value)
    if not (finite or value is None or type(value) in (bool, int, str)):
        raise ValueError(
            f"config.{name}: got {value!r} ({type(value).__name__}), "
            "expected None, bool, int, finite float, str, a tuple or a group of these"
        )
    return value


def _tuples(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _tuples(item) for key, item in value.items()}
    return tuple(_tuples(item) for item in value) if isinstance(value, list) else value


def save_config(workdir: str | os.PathLike, config: ml_collections.ConfigDict) -> None:
    """Writes `config.json`, atomically. Raises ValueError naming a field that JSON cannot hold exactly."""
    write_atomic(Path(workdir) / "config.json", json.dumps(plain_config(config), indent=2) + "\n")


def load_config(workdir: str | os.PathLike) -> ml_collections.ConfigDict:
    """Reads what `save_config` wrote, sequences as tuples; fields that it lacks get their default.

    Raises ValueError naming a file it cannot read.
    """
    path = Path(workdir) / "config.json"
    try:
        config = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise ValueError(f"{path}: {error}; expected the config of an earlier run") from error
    if not isinstance(config, dict):
        raise ValueError(f"{path}: got a JSON {type(config).__name__}, expected the config of an earlier run")
    return filled_config(config, default_config())


def filled_config(config: dict[str, Any], default: ml_collections.ConfigDict) -> ml_collections.ConfigDict:
    """What `plain_config` gave as a configuration again, sequences as tuples; fields that it lacks are `default`'s."""
    return ml_collections.ConfigDict(_filled(_tuples(config), default.to_dict()))


def _filled(config: dict[str, Any], default: dict[str, Any]) -> dict[str, Any]:
    """`config` with the fields that only `default` has; a new field's default is what was done without it."""
    nested = {key: _filled(config[key], value) for key, value in default.items() if isinstance(config.get(key), dict)}
    return default | config | nested


# Fields that change where a run keeps things and how it reads them, never a bit of its result; and, the last two, how
# it is computed, and rounding with it.
FREE_FIELDS = (
    "dataset.cache",
    "dataset.memory_mb",
    "train.checkpoint_seconds",
    "train.device_budget_mb",
    "train.feed",
    "train.devices",
    "train.remat",
)


def config_differences(one: Mapping[str, Any], other: Mapping[str, Any]) -> Iterator[tuple[str, Any, Any]]:
    """(name, value here, value there) of every field that differs, by name; `ABSENT` where it does not exist."""
    old, new = (dict(_leaves(plain_config(config))) for config in (one, other))
    for name in sorted(old.keys() | new.keys()):
        if name not in old or name not in new or old[name] != new[name]:
            yield name, old.get(name, ABSENT), new.get(name, ABSENT)


def check_resume(saved: Mapping[str, Any], requested: Mapping[str, Any]) -> None:
    """A run goes on under the config it began with: `eval.*` and `FREE_FIELDS` may differ, and `train.epochs` may grow.

    Both arguments are configs, plain or ConfigDict. Raises ValueError listing every other difference.
    """
    differences = []
    for name, had, wants in config_differences(saved, requested):
        if name.startswith("eval.") or name in FREE_FIELDS:
            continue
        if name == "train.epochs" and ABSENT not in (had, wants) and wants > had:
            continue
        saved_value, wanted = (value if value is ABSENT else repr(value) for value in (had, wants))
        differences.append(f"{name}: saved {saved_value}, requested {wanted}")
    if differences:
        raise ValueError(
            "config: this workdir was begun with other settings ("
            + "; ".join(differences)
            + "); expected the same, except eval.*, a larger train.epochs and "
            + ", ".join(FREE_FIELDS)
            + "; or another workdir"
        )


class _Absent:
    def __str__(self) -> str:
        return "absent"


ABSENT = _Absent()


def _leaves(config: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in config.items():
        if isinstance(value, dict):
            yield from _leaves(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value
