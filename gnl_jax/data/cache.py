"""Decoded and resized images on disk, found by the content of the image files; a damaged entry is never used."""

import contextlib
import hashlib
import os
import tempfile
from pathlib import Path

import numpy as np
from absl import logging

DIGEST = hashlib.sha256().digest_size


def default_folder() -> Path:
    """`$XDG_CACHE_HOME/gnl_jax`, or `~/.cache/gnl_jax`."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "gnl_jax"


class ImageCache:
    """One file for each image: the SHA-256 of its pixels, then the pixels.

    An entry appears by a rename, hence whole or not at all, whoever else reads or writes it. A folder that
    cannot be written (full, read-only) costs time, not the run: it is logged once and then left alone.
    """

    def __init__(self, folder: str | os.PathLike):
        self.folder = Path(folder)
        self.writable = True

    def read(self, key: str, size: int) -> np.ndarray | None:
        """The image of a key, uint8 [size size 3], or None where there is none or it is damaged."""
        try:
            content = self._path(key).read_bytes()
        except OSError:
            return None
        pixels = memoryview(content)[DIGEST:]
        if len(pixels) != size * size * 3 or hashlib.sha256(pixels).digest() != content[:DIGEST]:
            return None
        return np.frombuffer(pixels, np.uint8).reshape(size, size, 3)

    def write(self, key: str, image: np.ndarray) -> None:
        """Stores uint8 [size size 3] under a key."""
        if not self.writable:
            return
        path, temporary = self._path(key), None
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=".", suffix=".tmp")
            with open(handle, "wb") as file:
                file.write(hashlib.sha256(image.data).digest())
                file.write(image.data)
            os.replace(temporary, path)
        except OSError as error:
            self.writable = False
            logging.warning("cannot write to the cache %s, going on without: %s", self.folder, error)
            if temporary is not None:
                with contextlib.suppress(OSError):
                    os.unlink(temporary)

    def _path(self, key: str) -> Path:
        return self.folder / key[:2] / key[2:]
