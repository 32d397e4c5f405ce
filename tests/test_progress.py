"""Progress where there is no terminal: a line at least every half minute, and none for what is quick."""

import time

import pytest

from gnl_jax import progress
from gnl_jax.progress import progress_bar, time_left


def test_a_line_comes_even_if_nothing_advances(capsys, monkeypatch):
    monkeypatch.setattr(progress, "PERIOD", 0.05)
    with progress_bar("training", 200, start=100) as advance:
        time.sleep(0.12)
        advance(50, "loss 0.5")
        time.sleep(0.12)
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == "training: 100 of 200; time left not known yet"
    assert lines[-1].startswith("training: 150 of 200, loss 0.5; ")
    assert lines[-1].endswith(" s left")
    time.sleep(0.1)
    assert capsys.readouterr().err == ""


def test_what_is_quick_prints_nothing(capsys):
    assert progress.PERIOD <= 30
    with progress_bar("images", 2) as advance:
        advance(1)
        advance(1, "")
    assert capsys.readouterr().err == ""


def test_the_thread_ends_with_an_error(capsys, monkeypatch):
    monkeypatch.setattr(progress, "PERIOD", 0.02)
    with pytest.raises(ValueError, match="broken"), progress_bar("images", 2):
        raise ValueError("broken")
    capsys.readouterr()
    time.sleep(0.06)
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(
    ("done", "total", "seconds", "expected"),
    [(1, 2, 30, "30 s left"), (1, 101, 60, "1 h 40 min left"), (5, 5, 9, "0 s left"), (7, 5, 9, "0 s left")],
)
def test_time_left(done, total, seconds, expected):
    assert time_left(done, total, seconds=seconds) == expected
