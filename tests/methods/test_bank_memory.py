"""A bank that does not fit into memory is refused before an image is embedded."""

import pytest
from tiny_bank import fit_bank, images, make_method

from gnl_jax.methods import bank_memory
from gnl_jax.methods.bank_memory import BankNeed, check_memory


def test_what_a_bank_takes():
    need = BankNeed(rows=4000, candidates=100_000, patches=1024, channels=384)
    assert need.bytes(chunk=8) == 4 * 384 * (4000 + 100_000 + 8 * 1024)


def test_what_would_fit_is_said_and_fits(monkeypatch):
    needs = [BankNeed(4000, 100_000, 1024, 384), BankNeed(4000, 100_000, 64, 256)]
    monkeypatch.setattr(bank_memory, "host_free", lambda: 100 * 2**20)
    with pytest.raises(
        ValueError, match=r"got 4000 rows of 100000 candidate patches, which take 0.3 GiB; 0.1 GiB"
    ) as e:
        check_memory(needs, chunk=8)
    fits = int(str(e.value).partition("at most ")[2].split()[0])
    for most, fine in ((fits, True), (fits + 1, False)):
        smaller = [n._replace(rows=1000, candidates=most - 1000) for n in needs]
        assert (sum(n.bytes(chunk=8) for n in smaller) <= 100 * 2**20) == fine
    monkeypatch.setattr(bank_memory, "host_free", lambda: None)
    check_memory(needs, chunk=8)


def test_a_fit_asks_first(monkeypatch):
    monkeypatch.setattr(bank_memory, "host_free", lambda: 1000)
    with pytest.raises(ValueError, match=r"method\.memory_bank\.rows: got 160 rows of 160 candidate patches"):
        fit_bank(images(10), make_method("none"))
