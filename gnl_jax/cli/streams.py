"""Images that come one after another: from a folder that is watched, or as names on standard input."""

import os
import queue
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from typing import IO, TYPE_CHECKING

from absl import logging

if TYPE_CHECKING:
    from gnl_jax.detection.arrivals import Arrivals
    from gnl_jax.detection.detector import Detector
    from gnl_jax.detection.inspection import Inspected
    from gnl_jax.detection.journal import Journal

MOST = 256  # names taken at once
POLL = 0.5  # seconds, or less where files settle sooner

Show = Callable[["Inspected"], None]


def read_names(stream: IO[bytes]) -> Iterator[list[str]]:
    """The lines of a stream as lists of what is there now, at least one; empty lines are left out.

    A thread reads, so that the names that have come are scored while the next ones are awaited.
    """
    names: queue.Queue[str | None] = queue.Queue(MOST)

    def read() -> None:
        try:
            for line in stream:
                if name := line.rstrip(b"\r\n"):
                    names.put(os.fsdecode(name))
        finally:
            names.put(None)

    threading.Thread(target=read, daemon=True).start()
    while (name := names.get()) is not None:
        chunk = [name]
        while name is not None and len(chunk) < MOST and not names.empty():
            if (name := names.get()) is not None:
                chunk.append(name)
        yield chunk
        if name is None:
            return


def score_names(detector: "Detector", lists: Iterable[list[str]], write: Show, *, keep: bool) -> Counter:
    """Writes one result for each name as soon as it is there; the number of each decision."""
    said = Counter[str]()
    for names in lists:
        for result in detector.inspect(names, keep=keep):
            write(result)
            said[result.decision] += 1
    return said


def watch(
    detector: "Detector",
    arrivals: "Arrivals",
    journal: "Journal",
    *,
    show: Show = lambda result: None,
    keep: bool = False,
    stop_after: float | None = None,
) -> Counter:
    """Writes one line for each file that arrives, until interrupted; the number of each decision.

    Args:
        detector: a calibrated one.
        arrivals: the folder; what the journal has is done.
        journal: where the lines go.
        show: is given each result before its line is written.
        keep: whether a result has its image and map.
        stop_after: seconds without a file that arrives or is awaited after which this returns; None for never.
    """
    from gnl_jax.detection.inspection import ERROR

    said, last, there = Counter[str](), time.monotonic(), True
    while True:
        try:
            paths, there = arrivals.poll(), True
        except ValueError as error:  # a network drive may be away for a while
            if there:
                logging.warning("%s; waiting for it", error)
            paths, there = [], False
        for result in detector.inspect(paths, keep=keep):
            if result.decision == ERROR and arrivals.wait_for(result.path):
                continue
            show(result)
            journal.write(result)
            said[result.decision] += 1
        if paths:
            journal.sync()
        if paths or (there and arrivals.waiting):
            last = time.monotonic()
        if stop_after is not None and time.monotonic() - last >= stop_after:
            return said
        time.sleep(min(POLL, max(arrivals.settle / 2, 0.01)))


def standard_input() -> IO[bytes]:
    """Standard input as bytes: a name need not be UTF-8."""
    return sys.stdin.buffer
