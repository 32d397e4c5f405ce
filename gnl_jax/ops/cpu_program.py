"""Tells operations that they are traced for a program of this process's CPU, where they may be written for it alone.

Such a program is neither differentiated nor exported nor part of anyone else's, it is awaited before Python ends, and
it sees one image at a time (`detection/programs.py`).
"""

import contextlib
import contextvars
from collections.abc import Iterator

_here = contextvars.ContextVar("for_this_cpu", default=False)


@contextlib.contextmanager
def for_this_cpu() -> Iterator[None]:
    """What is traced in this context, on this thread, is for a program of this CPU."""
    token = _here.set(True)
    try:
        yield
    finally:
        _here.reset(token)


def is_for_this_cpu() -> bool:
    """Whether what is traced now is."""
    return _here.get()
