"""Files that arrive in a folder, each once it is whole: nobody may be writing it any more."""

import os
import time
from collections.abc import Callable, Container
from typing import NamedTuple

from gnl_jax.data.listing import scan


class _Seen(NamedTuple):
    state: tuple[int, int, int]  # size, time of change, inode
    since: float
    tried: bool


class Arrivals:
    """The image files below a folder that stopped changing.

    A file is whole when its size and time stay the same for `settle` seconds and it can be read as an image. One that
    cannot be read may still be on its way: it is offered again when it changes, and for the last time after `patience`
    seconds without a change.
    """

    def __init__(
        self,
        folder: str | os.PathLike,
        *,
        done: Container[str],
        settle: float = 1.0,
        patience: float = 30.0,
        clock: Callable[[], float] = time.monotonic,
    ):
        """done: paths that are never offered, such as those that have their result; it may grow."""
        self.folder, self.done, self.clock = os.fspath(folder), done, clock
        self.settle, self.patience = settle, patience
        self._pending: dict[str, _Seen] = {}

    def poll(self) -> list[str]:
        """Paths of files to be read now, in the order of their names. Raises ValueError where the folder is gone."""
        now, pending, ready = self.clock(), {}, []
        for path in (os.path.join(self.folder, name) for name in scan(self.folder).paths):
            if path in self.done:
                continue
            try:
                status = os.stat(path)
            except OSError:  # gone again
                continue
            state = (status.st_size, status.st_mtime_ns, status.st_ino)
            seen = self._pending.get(path)
            if seen is None or seen.state != state:
                seen = _Seen(state, now, False)
            pending[path] = seen
            if now - seen.since >= (self.patience if seen.tried else self.settle):
                ready.append(path)
        self._pending = pending
        return ready

    @property
    def waiting(self) -> int:
        """How many files are there and not done."""
        return len(self._pending)

    def wait_for(self, path: str) -> bool:
        """To be called for a file that could not be read: whether to wait for the rest of it."""
        seen = self._pending.get(path)
        if seen is None or not os.path.lexists(path):
            return True  # gone: there is nothing to say of it
        self._pending[path] = seen._replace(tried=True)
        return self.clock() - seen.since < self.patience
