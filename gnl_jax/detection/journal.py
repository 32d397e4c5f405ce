"""Results as lines of a file that survives being killed: one line for each image, whatever happens in between."""

import errno
import json
import os
from types import TracebackType

from gnl_jax.detection.inspection import Inspected
from gnl_jax.detection.rows import json_line


class Journal:
    """A file of JSON lines that is continued: `done` holds the names that have their line.

    A line that was cut off by a kill is removed when the file is opened, so that its image is scored again. Where the
    system has locks (not on Windows), a second writer is refused.

    Raises:
        ValueError: a file with other lines, or one that another process writes; it is named.
        OSError: naming the file.
    """

    def __init__(self, path: str | os.PathLike):
        self.path = os.fspath(path)
        self._file = open(path, "a+b", buffering=0)  # noqa: SIM115, closed by `close`
        try:
            self._lock()
            self.done = self._recover()
        except BaseException:
            self._file.close()
            raise

    def __enter__(self) -> "Journal":
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        self.close()

    def write(self, result: Inspected) -> None:
        """Adds the line of a result, in one step."""
        line = json_line(result).encode("ascii")
        if self._file.write(line) != len(line):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), self.path)
        self.done.add(result.path)

    def sync(self) -> None:
        """Waits until all lines are on the disk, so that a power cut cannot take them."""
        os.fsync(self._file.fileno())

    def close(self) -> None:
        """Lets another process write."""
        self._file.close()

    def _lock(self) -> None:
        try:
            import fcntl
        except ImportError:  # Windows
            return
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise ValueError(f"{self.path}: another process writes there, expected one at a time") from error

    def _recover(self) -> set[str]:
        """The names in the file, which then ends with a whole line."""
        done, end = set(), 0
        self._file.seek(0)
        with open(os.dup(self._file.fileno()), "rb") as lines:
            for number, line in enumerate(lines, start=1):
                if not line.endswith(b"\n"):
                    break
                try:
                    done.add(json.loads(line)["file"])
                except (ValueError, KeyError, TypeError) as error:
                    raise ValueError(
                        f"{self.path}: line {number} is no result, expected a file of results or a new one"
                    ) from error
                end += len(line)
        self._file.truncate(end)
        return done
