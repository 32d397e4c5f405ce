"""Batches that do not wait for each other."""

import itertools
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

import jax

Item = TypeVar("Item")
Result = TypeVar("Result")
AT_ONCE = 2  # batches under way: more of them bring nothing and take memory


def overlapped(begin: Callable[[Item], Any], end: Callable[[Any], Result], items: Iterable[Item]) -> Iterator[Result]:
    """end(begin(item)) for each item, in order, two at a time.

    Parts of a program, such as sorting, keep one core busy: on a CPU two side by side in threads take two thirds
    of the time of one after the other. Elsewhere `begin` returns before its work is done, and `end` waits for it.

    Args:
        begin: starts the work on an item; on a CPU called in a thread if there are two items or more.
        end: waits for what `begin` returned.
        items: taken in the caller's thread, at most three ahead of the results.

    Contexts of JAX such as `jax.default_device` do not reach the threads.
    """
    items = iter(items)
    first = list(itertools.islice(items, 2))
    if len(first) < 2 or jax.default_backend() != "cpu":
        return _one_late(begin, end, itertools.chain(first, items))
    return _in_threads(lambda item: end(begin(item)), itertools.chain(first, items))


def _one_late(begin: Callable, end: Callable, items: Iterable) -> Iterator:
    waiting: deque = deque()
    for item in items:
        waiting.append(begin(item))
        if len(waiting) == AT_ONCE:
            yield end(waiting.popleft())
    while waiting:
        yield end(waiting.popleft())


def _in_threads(call: Callable, items: Iterable) -> Iterator:
    waiting: deque = deque()
    with ThreadPoolExecutor(AT_ONCE) as pool:
        try:
            for item in items:
                waiting.append(pool.submit(call, item))
                if len(waiting) > AT_ONCE:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()
