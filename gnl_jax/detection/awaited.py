"""Programs that the interpreter waits for at its end.

A program that calls Python (`ops/host_sort.py`) hangs if Python ends before it, as after Ctrl-C between a program's
start and the reading of its result. Threads of a pool are joined first.
"""

import functools
import queue
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import jax

AT_ONCE = 64  # programs under way; a further one starts when one of them has ended


def awaited(start: Callable[[], Any]) -> Any:
    """What `start` returns, arrays of a program that it has started; the process does not end before they are there.

    It is called in a thread, which then waits for the arrays; the caller gets them at once, and `start`'s errors.
    """
    answers: queue.SimpleQueue = queue.SimpleQueue()

    def run() -> None:
        try:
            arrays = start()
        except BaseException as error:
            answers.put((None, error))
            return
        answers.put((arrays, None))
        jax.block_until_ready(arrays)  # its error is the reader's, this thread's future is never looked at

    _pool().submit(run)
    arrays, error = answers.get()
    if error is not None:
        raise error
    return arrays


@functools.cache
def _pool() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(AT_ONCE, thread_name_prefix="gnl_jax_program")
