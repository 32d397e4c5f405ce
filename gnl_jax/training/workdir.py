"""The run folder: one process at a time, and the configuration that resuming must match."""

import contextlib
import fcntl
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from gnl_jax.config_io import ABSENT, config_differences


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
