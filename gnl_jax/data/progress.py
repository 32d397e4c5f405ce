"""A progress bar for what takes long, and silence for what does not."""

import sys
import time
from collections.abc import Iterable, Iterator
from typing import TypeVar

Item = TypeVar("Item")


def progress(items: Iterable[Item], *, total: int, what: str, patience: float = 2.0) -> Iterator[Item]:
    """The items; if standard error is a terminal, a bar shows on it after `patience` seconds, until the end.

    Args:
        items: passed on one by one.
        total: how many there are.
        what: the text before the bar.
        patience: in seconds.
    """
    if not sys.stderr.isatty():
        yield from items
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
