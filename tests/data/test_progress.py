import io
import sys

from gnl_jax.data.progress import progress


class Terminal(io.StringIO):
    def isatty(self):
        return True


def shown(monkeypatch, error, **options):
    monkeypatch.setattr(sys, "stderr", error)
    assert list(progress(range(5), total=5, what="Photos", **options)) == [0, 1, 2, 3, 4]
    return error.getvalue()


def test_a_bar_on_a_terminal_after_some_time_only(monkeypatch):
    assert "Photos" in shown(monkeypatch, Terminal(), patience=0)
    assert shown(monkeypatch, Terminal(), patience=60) == ""
    assert shown(monkeypatch, io.StringIO(), patience=0) == ""
