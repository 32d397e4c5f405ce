"""The file of a detector: what was put in comes out, and no damage passes."""

import struct
import time

import numpy as np
import pytest

from gnl_jax.detection.container import HEADER, ArtifactError, Container, pack, read_container, unpack, write_container

MANIFEST = {"kind": "detector", "names": ["Ω", '"><img src=x>'], "number": 0.1, "none": None}
ARRAYS = {
    "a/kernel": np.random.default_rng(0).normal(size=(3, 4)).astype(np.float32),
    "b": np.array(7, np.int32),
    "region": np.array([[True, False]]),
}
DATA = pack(MANIFEST, ARRAYS, b"program")
RNG = np.random.default_rng(1)


def altered(data, at):
    return data[:at] + bytes([data[at] ^ (1 << int(RNG.integers(8)))]) + data[at + 1 :]


def test_what_is_written_is_read_back_bit_equal(tmp_path):
    write_container(tmp_path / "x.gnl", Container(MANIFEST, ARRAYS, b"program"))
    manifest, arrays, program = read_container(tmp_path / "x.gnl")
    assert (manifest, program) == (MANIFEST, b"program")
    assert arrays.keys() == ARRAYS.keys()
    for name, array in ARRAYS.items():
        assert arrays[name].dtype == array.dtype
        np.testing.assert_array_equal(arrays[name], array)


def test_equal_content_gives_equal_bytes():
    assert pack(dict(reversed(MANIFEST.items())), dict(reversed(ARRAYS.items())), b"program") == DATA


@pytest.mark.parametrize("at", range(HEADER.size))
def test_every_altered_byte_of_the_header_is_refused(at):
    with pytest.raises(ArtifactError, match=r"x\.gnl: "):
        unpack(altered(DATA, at), name="x.gnl")


def test_a_thousand_altered_bytes_are_refused():
    for at in RNG.integers(0, len(DATA), 1000):
        with pytest.raises(ArtifactError):
            unpack(altered(DATA, at), name="x.gnl")


def test_a_hundred_cuts_and_what_trails_are_refused():
    for length in [0, *RNG.integers(0, len(DATA), 100)]:
        with pytest.raises(ArtifactError):
            unpack(DATA[:length], name="x.gnl")
    for more in (b"\0", b"more", DATA):
        with pytest.raises(ArtifactError):
            unpack(DATA + more, name="x.gnl")


@pytest.mark.parametrize("field", range(3))
@pytest.mark.parametrize("change", [-1, 1, 2**63])
def test_a_length_that_is_wrong_with_a_hash_that_is_right_is_refused(field, change):
    import hashlib

    rest = bytearray(DATA[40:])
    at = HEADER.size - 24 - 40 + 8 * field
    (length,) = struct.unpack_from("<Q", rest, at)
    struct.pack_into("<Q", rest, at, (length + change) % 2**64)
    data = DATA[:8] + hashlib.sha256(rest).digest() + bytes(rest)
    with pytest.raises(ArtifactError):
        unpack(data, name="x.gnl")


def test_a_newer_version_is_named():
    import hashlib

    rest = struct.pack("<I16s", 2, b"7.8.9") + DATA[60:]
    data = DATA[:8] + hashlib.sha256(rest).digest() + rest
    with pytest.raises(ArtifactError, match=r"x\.gnl: got format 2, expected 1 or older; it needs gnl_jax 7\.8\.9"):
        unpack(data, name="x.gnl")


def test_other_files_are_refused_by_name(tmp_path):
    (tmp_path / "part.gnl").write_text("hello")
    with pytest.raises(ArtifactError, match=r"part\.gnl: got another kind of file"):
        read_container(tmp_path / "part.gnl")
    with pytest.raises(ArtifactError, match=r"none\.gnl: No such file"):
        read_container(tmp_path / "none.gnl")
    with pytest.raises(ArtifactError, match="Is a directory"):
        read_container(tmp_path)


def test_damage_in_a_large_file_is_found_in_under_two_seconds():
    data = pack(MANIFEST, {"big": np.zeros(25_000_000, np.float32)})
    broken = altered(data, len(data) - 1)
    begun = time.perf_counter()
    with pytest.raises(ArtifactError):
        unpack(broken, name="x.gnl")
    assert time.perf_counter() - begun < 2


def test_what_json_cannot_hold_is_refused():
    with pytest.raises(ValueError, match="not JSON compliant"):
        pack({"score": float("nan")}, {})
