"""Two batches at a time: results in order, items taken late, errors as they come."""

import threading

import pytest

from gnl_jax.overlap import AT_ONCE, overlapped


def same(x):
    return x


@pytest.mark.parametrize("backend", ["cpu", "gpu"])
@pytest.mark.parametrize("n", [0, 1, 2, 7])
def test_results_come_in_order(backend, n, monkeypatch):
    monkeypatch.setattr("jax.default_backend", lambda: backend)
    assert list(overlapped(lambda x: 2 * x, lambda x: x + 1, range(n))) == [2 * i + 1 for i in range(n)]


def test_two_are_under_way_together():
    meeting = threading.Barrier(2, timeout=30)  # broken, and so an error, unless two come to it
    assert list(overlapped(same, lambda x: meeting.wait() * 0 + x, range(4))) == [0, 1, 2, 3]


def test_a_single_one_stays_in_the_callers_thread():
    assert list(overlapped(same, lambda x: threading.get_ident(), [0])) == [threading.get_ident()]


@pytest.mark.parametrize("backend", ["cpu", "gpu"])
def test_few_are_taken_ahead(backend, monkeypatch):
    monkeypatch.setattr("jax.default_backend", lambda: backend)
    taken = []
    results = overlapped(same, same, (taken.append(i) or i for i in range(9)))
    for i in results:
        assert len(taken) <= i + 1 + AT_ONCE


@pytest.mark.parametrize("backend", ["cpu", "gpu"])
def test_an_error_comes_where_its_result_would(backend, monkeypatch):
    monkeypatch.setattr("jax.default_backend", lambda: backend)
    results = overlapped(same, lambda x: 1 // x, [1, 1, 0, 1])
    assert [next(results), next(results)] == [1, 1]
    with pytest.raises(ZeroDivisionError):
        next(results)
