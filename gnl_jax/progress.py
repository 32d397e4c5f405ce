"""Progress of whatever is slow: a bar on a terminal, elsewhere a line now and then."""

import contextlib
import sys
import threading
import time
from collections.abc import Callable, Iterator

PERIOD = 30.0  # seconds between lines where there is no terminal

Advance = Callable[..., None]


@contextlib.contextmanager
def progress_bar(description: str, total: int, *, start: int = 0) -> Iterator[Advance]:
    """Yields `advance(n, text)`, which moves the bar by n and shows the text next to it.

    Without a terminal, a line goes to standard error every half minute: what is done, the text, and the time left.
    """
    if not sys.stderr.isatty():
        with _lines(description, total, start=start) as advance:
            yield advance
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[text]}", markup=False),
    )
    with Progress(*columns, console=Console(stderr=True)) as bar:
        task = bar.add_task(description, total=total, completed=start, text="")
        yield lambda n, text="": bar.update(task, advance=n, text=text)


@contextlib.contextmanager
def _lines(description: str, total: int, *, start: int) -> Iterator[Advance]:
    """`progress_bar` as lines; a thread writes them, for a step may be compiled or computed for longer than that."""
    done, said, begun, over = start, "", time.monotonic(), threading.Event()

    def advance(n: int, text: str = "") -> None:
        nonlocal done, said
        done, said = done + n, text

    def write() -> None:
        while not over.wait(PERIOD):
            left = time_left(done - start, total - start, seconds=time.monotonic() - begun)
            print(f"{description}: {done} of {total}{said and f', {said}'}; {left}", file=sys.stderr, flush=True)

    thread = threading.Thread(target=write, daemon=True)
    thread.start()
    try:
        yield advance
    finally:
        over.set()
        thread.join()


def time_left(done: int, total: int, *, seconds: float) -> str:
    """How long the rest takes at the pace so far, in words.

    >>> time_left(30, 120, seconds=60)
    '3 min left'
    >>> time_left(0, 120, seconds=60)
    'time left not known yet'
    """
    if done < 1:
        return "time left not known yet"
    left = max(total - done, 0) * seconds / done
    if left < 90:
        return f"{left:.0f} s left"
    hours, minutes = divmod(round(left / 60), 60)
    return f"{hours} h {minutes} min left" if hours else f"{minutes} min left"
