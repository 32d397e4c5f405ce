"""Signals between steps: the first one asks, a second Ctrl-C insists."""

import os
import signal
import threading

import pytest

from gnl_jax.training.interrupt import stop_request

BOTH = (signal.SIGINT, signal.SIGTERM)


def handlers():
    return [signal.getsignal(number) for number in BOTH]


def send(number):
    os.kill(os.getpid(), number)


@pytest.mark.parametrize("number", BOTH)
def test_a_signal_is_noted(number):
    before = handlers()
    with stop_request() as request:
        assert request.signal is None
        send(number)
        assert request.signal == number
    assert handlers() == before


def test_ctrl_c_is_answered_at_once(capfd):
    with stop_request():
        send(signal.SIGTERM)
        assert capfd.readouterr().err == ""
        send(signal.SIGINT)
        assert capfd.readouterr().err == "\nstopping after this step; Ctrl-C again stops at once\n"


@pytest.mark.parametrize("between", [(), (signal.SIGTERM, signal.SIGINT)])
def test_second_ctrl_c_stops_at_once(between):
    before = handlers()
    with stop_request() as request:
        for number in (signal.SIGINT, *between):
            send(number)
        assert request.signal == signal.SIGINT
        with pytest.raises(KeyboardInterrupt):
            send(signal.SIGINT)
    assert handlers() == before


def test_each_block_starts_anew():
    with stop_request():
        send(signal.SIGTERM)
    with stop_request() as request:
        assert request.signal is None


def test_no_handlers_outside_the_main_thread():
    seen = []

    def work():
        with stop_request() as request:
            seen.append((request.signal, handlers()))

    before = handlers()
    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [(None, before)]
