"""JAX does not survive a fork: the child lacks the threads that compute, and would wait for them for ever."""

import os

_state = {"used": False, "forked": False}


class ForkedError(RuntimeError):
    """JAX was used before this process was forked, so that nothing can be computed here."""


def note_use() -> None:
    """Called where a detector is made; from then on a fork leaves a child that cannot compute."""
    check_not_forked()
    _state["used"] = True


def check_not_forked() -> None:
    """Raises ForkedError where computing would hang."""
    if _state["forked"]:
        raise ForkedError(
            "this process was forked from one that had a detector already, and JAX cannot compute after a fork; start "
            'processes with multiprocessing.get_context("spawn"), or load the detector after the fork only'
        )


def _after_fork() -> None:
    _state["forked"] = _state["used"]


if hasattr(os, "register_at_fork"):  # not on Windows, which has no fork
    os.register_at_fork(after_in_child=_after_fork)
