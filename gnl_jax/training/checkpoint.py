"""Checkpoints: state, step and config, saved together and found whole. The one file that knows Orbax."""

import contextlib
import dataclasses
import hashlib
import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np
import orbax.checkpoint as ocp
from absl import logging
from orbax.checkpoint.checkpoint_managers import LatestN

from gnl_jax.config_io import plain_config
from gnl_jax.training.parallel import barrier


class CheckpointError(ValueError):
    """A checkpoint cannot be written or read; the message names the folder and what is still good there."""


@dataclasses.dataclass(frozen=True)
class Restored:
    """What `Checkpoints.restore` found; `skipped` lists the damaged newer checkpoints as (step, reason)."""

    step: int
    state: Any
    config: dict[str, Any]
    skipped: tuple[tuple[int, str], ...]


class Checkpoints:
    """The `keep` newest checkpoints of one run, in one folder; use as a context manager or call `close`.

    A checkpoint is written under a temporary name and renamed when whole, so a killed save leaves nothing
    that `restore` would see. What goes wrong later, on the disk or in a power cut, is noticed: each array's
    SHA-256 is stored with it and compared on restore. Opening and restoring change nothing on disk: a finished
    or running run can be read from another process.
    """

    def __init__(self, directory: str | Path, *, keep: int = 2):
        if keep < 1:
            raise ValueError(f"keep: got {keep}, expected at least 1")
        self.directory = Path(directory).expanduser().absolute()
        self._keep = keep
        self._damaged: set[int] = set()
        self._open()

    def _open(self) -> None:
        options = ocp.CheckpointManagerOptions(preservation_policy=LatestN(self._keep), create=False)
        self._manager = ocp.CheckpointManager(self.directory, options=options)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def latest_step(self) -> int | None:
        """The newest step saved or being saved, damaged or not; None if there is none."""
        return max(self._manager.all_steps(), default=None)

    def save(self, step: int, state: Any, config: Mapping[str, Any]) -> None:
        """Starts writing a checkpoint, once the one before is finished, and returns while it is written.

        state: pytree of arrays, all copied to the host before this returns, so its buffers may be donated at
        once. config: as `plain_config` takes it. Raises ValueError if a float array holds a NaN or `step` is
        not past the newest checkpoint; CheckpointError if this or the previous one cannot be written.
        """
        self.wait()
        arrays = _host_arrays(state, name=f"state of step {step}")
        record = _record(step, arrays, plain_config(config))
        self._make_way(step)
        try:
            self._manager.save(
                step,
                args=ocp.args.Composite(state=ocp.args.StandardSave(arrays), record=ocp.args.JsonSave(record)),
            )
        except Exception as error:
            raise self._not_written(error) from error

    def wait(self) -> None:
        """Returns when the last save is whole on disk. Raises CheckpointError if it could not be written."""
        try:
            self._manager.wait_until_finished()
        except Exception as error:  # Orbax and its writers raise anything from OSError to their own
            raise self._not_written(error) from error

    def close(self) -> None:
        """Waits for the last save and frees the threads. Raises CheckpointError like `wait`."""
        try:
            self.wait()
        finally:
            self._manager.close()

    def restore(self, template: Any) -> Restored | None:
        """The newest checkpoint that is whole, bit-equal to what was saved; None if none was ever saved.

        template: pytree of arrays or ShapeDtypeStruct; a leaf with a sharding is placed accordingly, the
        others on the default device. A damaged checkpoint is passed over with a warning, and the next `save`
        removes it. Raises CheckpointError if every one is damaged, ValueError if a whole one does not fit
        the template.
        """
        self.wait()
        skipped = []
        for step in sorted(self._manager.all_steps(), reverse=True):
            try:
                record, arrays = self._read(step)
            except MemoryError:
                raise
            except Exception as error:  # damage surfaces as whatever the parser it reached raises
                reason = f"{type(error).__name__}: {error}".splitlines()[0][:200]
                logging.warning("%s: damaged checkpoint %d passed over (%s)", self.directory, step, reason)
                skipped.append((step, reason))
                continue
            self._damaged.update(bad for bad, _ in skipped)
            state = _fit(arrays, template, source=f"{self.directory}/{step}")
            return Restored(step, state, record["config"], tuple(skipped))
        if skipped:
            reasons = "; ".join(f"step {step}: {reason}" for step, reason in skipped)
            raise CheckpointError(f"{self.directory}: no checkpoint can be read ({reasons})")
        return None

    def _read(self, step: int) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
        """Record and arrays of one step, both checked against the digests stored in the record."""
        args = ocp.args.Composite(record=ocp.args.JsonRestore())
        record = dict(self._manager.restore(step, args=args)["record"])
        digest = record.pop("sha256")
        if digest != _digest(json.dumps(record, sort_keys=True).encode()) or record["step"] != step:
            raise CheckpointError("record: SHA-256 differs from the one saved")
        # The shapes come from the verified record, never from the file that is being checked.
        like = {name: np.empty(entry["shape"], entry["dtype"]) for name, entry in record["arrays"].items()}
        args = ocp.args.Composite(state=ocp.args.StandardRestore(like))
        arrays = self._manager.restore(step, args=args)["state"]
        for name, entry in record["arrays"].items():
            if arrays[name].dtype != like[name].dtype or _digest(arrays[name]) != entry["sha256"]:
                raise CheckpointError(f"{name}: SHA-256 differs from the one saved")
        return record, arrays

    def _make_way(self, step: int) -> None:
        """Creates the folder, removes what killed saves left there and what `restore` found damaged."""
        newest = max((s for s in self._manager.all_steps() if s not in self._damaged), default=None)
        if newest is not None and step <= newest:
            raise ValueError(f"step: got {step}, expected one past {newest}, the newest in {self.directory}")
        try:
            self.directory.mkdir(parents=True, exist_ok=True)
            if jax.process_index() == 0:
                for left_by_a_kill in self.directory.glob("*.orbax-checkpoint-tmp"):
                    shutil.rmtree(left_by_a_kill)
            barrier(f"{self.directory} is clean for step {step}")
            for bad in self._damaged.intersection(self._manager.all_steps()):
                self._manager.delete(bad)
        except OSError as error:
            raise self._not_written(error) from error
        self._damaged.clear()

    def _not_written(self, error: Exception) -> CheckpointError:
        """The error to raise for a failed save; opens the folder anew, for Orbax counts the step as saved."""
        with contextlib.suppress(Exception):  # it repeats the error in hand
            self._manager.close()
        self._open()
        return CheckpointError(
            f"{self.directory}: checkpoint not written ({error}); the last good step is {self.latest_step()}"
        )


def _host_arrays(state: Any, *, name: str) -> dict[str, np.ndarray]:
    """The leaves by path, on the host; on CPU they alias the state until Orbax has copied them in its `save`."""
    leaves = jax.tree_util.tree_leaves_with_path(state)
    arrays = {_name(path): np.asarray(leaf) for path, leaf in leaves}
    if len(arrays) < len(leaves) or "" in arrays:
        raise ValueError(f"{name}: got leaves {sorted(_name(path) for path, _ in leaves)}, expected distinct names")
    for leaf, array in arrays.items():
        if jax.numpy.issubdtype(array.dtype, np.inexact) and np.isnan(array).any():
            raise ValueError(f"{name}: {leaf} holds a NaN, expected a state worth keeping")
    return arrays


def _name(path: tuple) -> str:
    return jax.tree_util.keystr(path, simple=True, separator="/")


def _record(step: int, arrays: dict[str, np.ndarray], config: dict[str, Any]) -> dict[str, Any]:
    """What is saved beside the arrays; its own SHA-256 guards it, the config included."""
    entries = {
        name: {"shape": list(array.shape), "dtype": array.dtype.name, "sha256": _digest(array)}
        for name, array in arrays.items()
    }
    record = {"step": step, "config": config, "arrays": entries}
    return record | {"sha256": _digest(json.dumps(record, sort_keys=True).encode())}


def _digest(data: np.ndarray | bytes) -> str:
    flat = np.ascontiguousarray(data).reshape(-1).view(np.uint8).data if isinstance(data, np.ndarray) else data
    return hashlib.sha256(flat).hexdigest()


def _fit(arrays: dict[str, np.ndarray], template: Any, *, source: str) -> Any:
    """Arrays by path -> a pytree like template, on its devices. ValueError names the first leaf to differ."""
    leaves, treedef = jax.tree_util.tree_flatten_with_path(template)
    expected = {_name(path): leaf for path, leaf in leaves}
    for name in sorted(expected.keys() | arrays.keys()):
        saved, wanted = (
            f"{side[name].dtype}{list(side[name].shape)}" if name in side else "nothing" for side in (arrays, expected)
        )
        if saved != wanted:
            raise ValueError(f"{source}: {name} is {saved}, the template expects {wanted}")
    placed = [jax.device_put(arrays[name], getattr(leaf, "sharding", None)) for name, leaf in expected.items()]
    return jax.tree_util.tree_unflatten(treedef, placed)
