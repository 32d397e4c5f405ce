"""A progress bar for what takes long, lines where there is no terminal, and silence for what is quick."""

import sys
import time
from collections.abc import Iterable, Iterator
from typing import TypeVar

Item = TypeVar("Item")

PERIOD = 30.0  # seconds between lines where there is no terminal


def progress(items: Iterable[Item], *, total: int, what: str, patience: float = 2.0) -> Iterator[Item]:
    """The items; on a terminal, a bar shows after `patience` seconds, until the end; elsewhere a line each half minute.

    Args:
        items: passed on one by one.
        total: how many there are.
        what: the text before the bar.
        patience: in seconds.
    """
    if not sys.stderr.isatty():
        yield from _with_lines(items, total=total, what=what)
        return
    from rich.console import Console
    from rich.progress import Progress

    bar = Progress(console=Console(stderr=True), transient=True)
    task = bar.add_task(what, total=total)
    start = time.monotonic()
    try:
        for done, item in enumerate(items, start=1):
            yield item
            if not bar.live.is_started and time.monotonic() - start > patience:
                bar.start()
            bar.update(task, completed=done)
    finally:
        bar.stop()


def _with_lines(items: Iterable[Item], *, total: int, what: str) -> Iterator[Item]:
    begun = last = time.monotonic()
    for done, item in enumerate(items, start=1):
        yield item
        if (now := time.monotonic()) - last >= PERIOD:
            left = (now - begun) / done * (total - done)
            print(f"{what}: {done} of {total}; {left:.0f} s left", file=sys.stderr, flush=True)
            last = now
