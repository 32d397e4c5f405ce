"""scores.npz: what is written is what is read; what does not follow the format is refused by name."""

import zipfile

import numpy as np
import pytest

from gnl_jax.evaluation.scores import Scored, read_scores, write_scores


def scored(n, seed=0):
    rng = np.random.default_rng(seed)
    return Scored(rng.normal(size=n).astype(np.float32), np.arange(n) % 2 == 0)


def test_rows_and_test_sets_come_back_in_order(tmp_path):
    rows = [{"id": scored(4), "contrast:5": scored(6, 1)}, {}, {"id": scored(4, 2), "a/b": scored(3, 3)}]
    rows = [rows[0], rows[2]]
    write_scores(tmp_path / "scores.npz", rows)
    read = read_scores(tmp_path / "scores.npz")
    assert [list(cases) for cases in read] == [["id", "contrast:5"], ["id", "a/b"]]
    for cases, again in zip(rows, read, strict=True):
        for name in cases:
            for one, other in zip(cases[name], again[name], strict=True):
                assert (one.dtype, one.tobytes()) == (other.dtype, other.tobytes())
    assert [path.name for path in tmp_path.iterdir()] == ["scores.npz"]  # no temporary file left


def test_the_same_scores_give_the_same_bytes(tmp_path):
    for name in ("a", "b"):
        write_scores(tmp_path / name, [{"id": scored(5)}])
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def savez_of_numpy_2_0(file, **arrays):
    """Every keyword is an array there; `allow_pickle` came with 2.1."""
    with zipfile.ZipFile(file, "w") as archive:
        for name, array in arrays.items():
            with archive.open(f"{name}.npy", "w") as member:
                np.lib.format.write_array(member, np.asanyarray(array))


@pytest.mark.parametrize("savez", [np.savez, savez_of_numpy_2_0])
def test_nothing_but_the_scores_is_written(tmp_path, monkeypatch, savez):
    monkeypatch.setattr(np, "savez", savez)
    write_scores(tmp_path / "scores.npz", [{"id": scored(4)}, {"id": scored(4), "a/b": scored(3)}])
    with np.load(tmp_path / "scores.npz") as file:
        tests = ("0/id", "1/id", "1/a/b")
        assert file.files == [f"{test}/{field}" for test in tests for field in ("score", "anomalous")]


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (scored(3)._replace(score=np.zeros(3)), r"0/id/score: got float64 \(3,\), expected float32 \[n\]"),
        (scored(3)._replace(anomalous=np.zeros(2, bool)), r"0/id/anomalous: got bool \(2,\), expected bool \[3\]"),
        (scored(3)._replace(score=np.float32([0, np.nan, 1])), "1 of 3 are not finite"),
    ],
)
def test_wrong_arrays_are_named_when_written_and_when_read(tmp_path, wrong, message):
    path = tmp_path / "scores.npz"
    with pytest.raises(ValueError, match=message):
        write_scores(path, [{"id": wrong}])
    assert not path.exists()
    np.savez(path, **{f"0/id/{field}": array for field, array in wrong._asdict().items()})
    with pytest.raises(ValueError, match=rf"scores\.npz: .*{message}"):
        read_scores(path)


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"id/score": np.zeros(1)}, "id/score: got an array of this name"),
        ({"0/id/map": np.zeros(1)}, "0/id/map: got an array of this name"),
        ({"0/id/score": np.zeros(1, np.float32)}, "0/id/anomalous: missing"),
        ({"1/id/score": np.zeros(1, np.float32)}, r"rows: got \[1\], expected 0 to 0"),
        ({"0/id/score": np.array([None])}, "allow_pickle"),
    ],
)
def test_files_of_another_content_are_refused(tmp_path, arrays, message):
    np.savez(tmp_path / "scores.npz", **arrays)
    with pytest.raises(ValueError, match=message):
        read_scores(tmp_path / "scores.npz")


@pytest.mark.parametrize("content", [b"", b"no archive", b"PK\x03\x04 cut short"])
def test_files_of_another_kind_are_refused(tmp_path, content):
    (tmp_path / "scores.npz").write_bytes(content)
    with pytest.raises(ValueError, match=r"scores\.npz"):
        read_scores(tmp_path / "scores.npz")
    np.save(tmp_path / "single.npy", np.zeros(2))
    with pytest.raises(ValueError, match="got a single array"):
        read_scores(tmp_path / "single.npy")
