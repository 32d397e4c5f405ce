import os
import resource
import threading

import numpy as np
import pytest

from gnl_jax.data.cache import ImageCache, default_folder

SIZE = 32
KEY = "ab" + "0" * 62


def image(seed=0, size=SIZE):
    return np.random.default_rng(seed).integers(0, 256, (size, size, 3)).astype(np.uint8)


def entries(folder):
    return [path for path in folder.rglob("*") if path.is_file()]


def test_what_was_written_is_read(tmp_path):
    cache = ImageCache(tmp_path / "new" / "folder")
    assert cache.read(KEY, SIZE) is None
    cache.write(KEY, image())
    np.testing.assert_array_equal(cache.read(KEY, SIZE), image())
    assert cache.read("cd" + KEY[2:], SIZE) is None
    assert cache.read(KEY, SIZE - 1) is None
    assert len(entries(tmp_path)) == 1


def test_a_torn_or_damaged_entry_is_never_read(tmp_path):
    cache = ImageCache(tmp_path)
    cache.write(KEY, image())
    (path,) = entries(tmp_path)
    whole = path.read_bytes()
    for length in [*range(0, 64, 7), len(whole) // 2, len(whole) - 1]:
        for content in (whole[:length], whole[:length].ljust(len(whole), b"\0")):
            path.write_bytes(content)
            assert cache.read(KEY, SIZE) is None
    for place in (0, 31, 32, 1000, len(whole) - 1):
        damaged = bytearray(whole)
        damaged[place] ^= 1
        path.write_bytes(damaged)
        assert cache.read(KEY, SIZE) is None
    path.write_bytes(whole + b"\0")
    assert cache.read(KEY, SIZE) is None
    cache.write(KEY, image())  # and it is replaced
    np.testing.assert_array_equal(cache.read(KEY, SIZE), image())


@pytest.mark.parametrize("call", ["mkstemp", "write", "replace"])
def test_an_entry_is_whole_or_absent_when_interrupted(call, tmp_path, monkeypatch):
    class Killed(BaseException):
        pass

    def killed(*args, **kwargs):
        raise Killed

    with monkeypatch.context() as patch:
        target = {"mkstemp": "tempfile.mkstemp", "write": "hashlib.sha256", "replace": "os.replace"}[call]
        patch.setattr(target, killed)
        with pytest.raises(Killed):
            ImageCache(tmp_path).write(KEY, image())
    cache = ImageCache(tmp_path)
    assert cache.read(KEY, SIZE) is None
    cache.write(KEY, image())
    np.testing.assert_array_equal(cache.read(KEY, SIZE), image())


def test_a_full_disk_is_a_warning_and_leaves_nothing(tmp_path, caplog):
    cache, large = ImageCache(tmp_path), image(size=512)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (400_000, hard))  # bytes; the image has 786,432
    try:
        cache.write(KEY, large)
        cache.write(KEY, large)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert caplog.text.count("cannot write to the cache") == 1
    assert entries(tmp_path) == []
    assert cache.read(KEY, 512) is None


def test_a_folder_that_cannot_be_made_is_a_warning(tmp_path, caplog):
    (tmp_path / "file").touch()
    cache = ImageCache(tmp_path / "file" / "cache")
    cache.write(KEY, image())
    assert cache.read(KEY, SIZE) is None
    assert "going on without" in caplog.text


def test_readers_and_writers_at_once_see_whole_images(tmp_path):
    versions = [image(seed) for seed in range(4)]
    seen = []

    def work(version):
        cache = ImageCache(tmp_path)
        for _ in range(50):
            cache.write(KEY, version)
            seen.append(cache.read(KEY, SIZE))

    threads = [threading.Thread(target=work, args=(version,)) for version in versions]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(seen) == 200
    assert all(any(np.array_equal(found, version) for version in versions) for found in seen)
    assert len(entries(tmp_path)) == 1


def test_the_default_folder(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert default_folder() == tmp_path / "gnl_jax"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", os.sep + "someone")
    assert str(default_folder()) == "/someone/.cache/gnl_jax"
