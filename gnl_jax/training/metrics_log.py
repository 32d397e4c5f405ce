"""`metrics.jsonl`: what each step came to, never ahead of nor behind the checkpoint that training goes on from."""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from gnl_jax.files import write_atomic


class MetricsLog:
    """`metrics.jsonl`: one JSON object per line, appended, each with its "step".

    Lines sit in memory until `sync` or `close`; call `sync` before saving the checkpoint of the same step, so
    that what is restored is never ahead of the log.
    """

    def __init__(self, path: str | os.PathLike):
        self.path = Path(path)
        self._open()

    def _open(self) -> None:
        self._file = self.path.open("a", encoding="utf-8")

    def append(self, row: Mapping[str, Any]) -> None:
        """Adds a line; scalars may be NumPy's or JAX's. ValueError unless "step" is int and all is finite."""
        if not isinstance(row.get("step"), int):
            raise ValueError(f"row: got step={row.get('step')!r}, expected an int")
        try:
            line = json.dumps(dict(row), allow_nan=False, default=lambda scalar: scalar.item())
        except ValueError as error:
            raise ValueError(f"row: {error}, got {dict(row)}, expected finite numbers") from error
        self._file.write(line + "\n")

    def drop_after(self, step: int) -> None:
        """Forgets, atomically, the lines past `step` and a last line that a crash cut short.

        Raises ValueError naming the file and line if any other line is not a row.
        """
        self._file.close()
        text = self.path.read_text(encoding="utf-8", errors="replace")
        lines = text.splitlines(keepends=True)
        steps = [_step(line) for line in lines]
        if None in steps[:-1]:
            bad = steps.index(None)
            raise ValueError(f"{self.path}, line {bad + 1}: got {lines[bad][:60]!r}, expected a row with a step")
        kept = "".join(line for line, at in zip(lines, steps) if at is not None and at <= step)
        if kept != text:
            write_atomic(self.path, kept)
        self._open()

    def sync(self) -> None:
        """Puts every line so far on the disk."""
        self._file.flush()
        os.fsync(self._file.fileno())

    def close(self) -> None:
        """Puts every line on the disk and closes the file."""
        self.sync()
        self._file.close()


class NoLog:
    """A `MetricsLog` of a process whose metrics another one logs."""

    def append(self, row: Mapping[str, Any]) -> None:
        """Keeps nothing."""

    def drop_after(self, step: int) -> None:
        """Has no line to forget."""

    def sync(self) -> None:
        """Has no line to write."""

    def close(self) -> None:
        """Has no file to close."""


def _step(line: str) -> int | None:
    """The step of a whole line, None for anything else."""
    try:
        return json.loads(line)["step"] if line.endswith("\n") else None
    except (ValueError, TypeError, KeyError):
        return None
