"""200 files that are no image, or not the one their name says: generated, each with a name that says what it is."""

import io
import os
import socket
from pathlib import Path
from typing import NamedTuple

import numpy as np
from image_files import chunk, png16, png_header, tiff
from PIL import Image


class BadFile(NamedTuple):
    """A path; whether a folder's listing has it; whether it is an image after all (None: it may be)."""

    path: Path
    listed: bool
    readable: bool | None


def encoded(mode, kind, *, size=(30, 20), **options):
    rng = np.random.default_rng(0)
    image = Image.fromarray(rng.integers(0, 256, (size[1], size[0], 3), np.uint8)).convert(mode)
    data = io.BytesIO()
    image.save(data, kind, **options)
    return data.getvalue()


SUFFIX = {"PNG": ".png", "JPEG": ".jpg", "BMP": ".bmp", "TIFF": ".tif", "WEBP": ".webp", "GIF": ".gif"}


def bad_files(folder: Path) -> list[BadFile]:
    """Writes them into a folder."""
    files: list[BadFile] = []

    def add(name, data, *, readable=False, listed=True):
        path = folder / name
        path.write_bytes(data)
        files.append(BadFile(path, listed, readable))

    truncated(add)
    contents(add)
    modes(add)
    suffixes(add)
    return files + entries(folder)


def truncated(add) -> None:
    """Every container, cut at every 5 %; the last bytes of some hold nothing that is needed."""
    for kind, suffix in SUFFIX.items():
        data = encoded("RGB", kind)
        for percent in range(0, 100, 5):
            readable = None if percent >= 90 or kind in ("GIF", "TIFF") else False
            add(f"cut-{percent:02}{suffix}", data[: len(data) * percent // 100], readable=readable)


def contents(add) -> None:
    """Files of something else, damaged ones, and ones that claim too much."""
    png = bytearray(encoded("RGB", "PNG"))
    png[60] ^= 0xFF
    add("flipped.png", bytes(png), readable=None)
    add("zeros.png", bytes(1000))
    add("text.png", b"no image\n")
    add("html.jpg", b"<html><img src=x onerror=alert(1)></html>")
    add("pdf.png", b"%PDF-1.4\n")
    add("zip.png", b"PK\x03\x04" + bytes(50))
    add("random.tif", b"II*\0" + np.random.default_rng(1).bytes(500))
    add("random.webp", b"RIFF" + np.random.default_rng(1).bytes(500))
    add("random.bmp", b"BM" + np.random.default_rng(1).bytes(500))
    add("random.jpg", b"\xff\xd8\xff" + np.random.default_rng(1).bytes(500))
    add("random.gif", b"GIF89a" + np.random.default_rng(1).bytes(500))
    add("bomb.png", png_header(60000, 60000))
    add("huge.png", png_header(2**31 - 1, 2**31 - 1))
    add("no-pixels.png", png_header(10, 10))
    add("zero-wide.png", png_header(0, 10))
    add("only-signature.png", b"\x89PNG\r\n\x1a\n")
    add("text-bomb.png", encoded("RGB", "PNG")[:33] + chunk(b"zTXt", b"a\0\0" + bytes(50)))
    frames = [Image.new("L", (8, 8), v) for v in (0, 200)]
    for kind in ("GIF", "TIFF", "PNG", "WEBP"):
        data = io.BytesIO()
        frames[0].save(data, kind, save_all=True, append_images=frames[1:])
        add(f"two-frames{SUFFIX[kind]}", data.getvalue())


def modes(add) -> None:
    """Every mode in the containers that have it; transparency, floats and more than 16 bits need an option."""
    for mode in ("1", "L", "P", "RGB"):
        for kind in ("PNG", "BMP", "TIFF", "GIF"):
            add(f"mode-{mode}{SUFFIX[kind]}", encoded(mode, kind), readable=True)
    for mode in ("CMYK", "YCbCr"):
        add(f"mode-{mode}.tif", encoded(mode, "TIFF"), readable=True)
    clear = Image.new("RGBA", (9, 9), (1, 2, 3, 4))
    for kind in ("PNG", "WEBP", "TIFF"):
        data = io.BytesIO()
        clear.save(data, kind)
        add(f"transparent{SUFFIX[kind]}", data.getvalue())
    values = np.arange(12.0).reshape(3, 4)
    add("deep.png", png16((values * 5000).astype(np.uint16)[..., None]), readable=True)
    for name in ("float32", "float64", "int32", "uint32", "int16"):
        add(f"{name}.tif", tiff(values.astype(name)))
    add("nan.tif", tiff(np.full((3, 4), np.nan, np.float32)))
    for size in ((1, 1), (1, 500), (500, 1), (3000, 2)):
        add(f"size-{size[0]}x{size[1]}.png", encoded("RGB", "PNG", size=size), readable=True)


def suffixes(add) -> None:
    """One container under another's name is read for what it is; under no image's name it is not listed."""
    for kind, other in (("PNG", ".jpg"), ("JPEG", ".png"), ("BMP", ".tif"), ("WEBP", ".bmp"), ("GIF", ".webp")):
        add(f"is-{kind}{other}", encoded("RGB", kind), readable=True)
    for suffix in ("", ".txt", ".png.part", ".exe", ".psd"):
        add(f"is-png{suffix}", encoded("RGB", "PNG"), readable=True, listed=False)
    add("is-text.PNG", b"text")
    add(".hidden.png", encoded("RGB", "PNG"), readable=True, listed=False)
    image = encoded("RGB", "PNG")
    for name in (
        "=cmd|x.png",
        '"><img src=x>.png',
        "[b].png",
        "\x1b[2J.png",
        "two\nlines.png",
        " .png",
        "-x.png",
        "ä.png",
    ):
        add(name, image, readable=True)
    add(os.fsdecode(b"\xff\xfe.png"), image, readable=True)
    add("x" * 251 + ".png", image, readable=True)


def entries(folder: Path) -> list[BadFile]:
    """What is no file: folders, links, loops, devices, pipes, sockets, and names of nothing."""
    (folder / "folder.png").mkdir()
    (folder / "loop.png").symlink_to("loop.png")
    (folder / "broken.png").symlink_to("nothing.png")
    (folder / "around").symlink_to(".")
    (folder / "device.png").symlink_to("/dev/zero")
    (folder / "null.png").symlink_to("/dev/null")
    os.mkfifo(folder / "pipe.png")
    here = os.getcwd()
    os.chdir(folder)  # the address of a socket is short
    try:
        with socket.socket(socket.AF_UNIX) as listening:
            listening.bind("socket.png")
    finally:
        os.chdir(here)
    names = ["folder.png", "loop.png", "broken.png", "around", "device.png", "null.png", "pipe.png", "socket.png"]
    names += ["missing.png", "text.png/inside.png", "y" * 300 + ".png", "deep/" * 30 + "x.png"]
    return [BadFile(folder / name, False, False) for name in names]
