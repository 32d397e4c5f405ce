"""Stopping between steps: Ctrl-C and SIGTERM ask, a second Ctrl-C insists."""

import contextlib
import os
import signal
import threading
from collections.abc import Iterator


class StopRequest:
    """`signal` is None until one has come in."""

    signal: int | None = None


@contextlib.contextmanager
def stop_request() -> Iterator[StopRequest]:
    """Within the block SIGINT and SIGTERM only set `signal`; a second SIGINT raises KeyboardInterrupt at once.

    Signals reach the main thread only: elsewhere nothing is caught.
    """
    request = StopRequest()
    if threading.current_thread() is not threading.main_thread():
        yield request
        return

    def handle(number, _):
        if number == signal.SIGINT and request.signal == signal.SIGINT:
            raise KeyboardInterrupt
        request.signal = number
        if number == signal.SIGINT:
            # Not print: the handler may have come in the middle of one.
            os.write(2, b"\nstopping after this step; Ctrl-C again stops at once\n")

    before = {number: signal.signal(number, handle) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield request
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
