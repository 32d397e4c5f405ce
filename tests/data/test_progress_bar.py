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


def test_without_a_terminal_a_line_comes_now_and_then(capsys, monkeypatch):
    monkeypatch.setattr("gnl_jax.data.progress.PERIOD", 0.0)
    assert list(progress(iter("ab"), total=2, what="images")) == ["a", "b"]
    lines = capsys.readouterr().err.splitlines()
    assert [line.split(";")[0] for line in lines] == ["images: 1 of 2", "images: 2 of 2"]
    monkeypatch.setattr("gnl_jax.data.progress.PERIOD", 30.0)
    assert list(progress(iter("ab"), total=2, what="images")) == ["a", "b"]
    assert capsys.readouterr().err == ""
