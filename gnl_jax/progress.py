"""A progress bar for whatever is slow; nothing where the output is no terminal."""

import contextlib
import sys
from collections.abc import Callable, Iterator


@contextlib.contextmanager
def progress_bar(description: str, total: int, *, start: int = 0) -> Iterator[Callable[[int, str], None]]:
    """Yields `advance(n, text)`, which moves the bar by n and shows the text beside it."""
    if not sys.stderr.isatty():
        yield lambda n, text="": None
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
