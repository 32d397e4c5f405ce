"""Image files that Pillow cannot write, byte by byte after the PNG and TIFF standards."""

import struct
import zlib

import numpy as np

PNG_COLOUR_TYPES = {1: 0, 3: 2, 2: 4, 4: 6}  # channels to colour type: grey, RGB, grey + alpha, RGBA


def png16(values, *, key=None, filters=(0,)):
    """A 16-bit PNG of integers [h w c], transparent where `key`; `filters` (0 to 2) take turns by row."""
    h, w, c = values.shape
    rows = values.astype(">u2").reshape(h, -1).view(np.uint8).astype(np.int64)
    body, above = b"", np.zeros_like(rows[0])
    for y, row in enumerate(rows):
        kind = filters[y % len(filters)]
        left = np.concatenate([np.zeros(2 * c, np.int64), row[: -2 * c]])
        body += bytes([kind]) + ((row - (0, left, above)[kind]) % 256).astype(np.uint8).tobytes()
        above = row
    header = struct.pack(">IIBBBBB", w, h, 16, PNG_COLOUR_TYPES[c], 0, 0, 0)
    transparency = b"" if key is None else chunk(b"tRNS", np.array(key, ">u2").tobytes())
    compressed = chunk(b"IDAT", zlib.compress(body))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + transparency + compressed + chunk(b"IEND", b"")


def chunk(kind, content):
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def png_header(width, height):
    """A PNG that claims a size and has no pixels."""
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", b"") + chunk(b"IEND", b"")


def tiff(values, *, order="<", photometric=None, deflate=False, bits=None, planes=False, extra=None, data=None):
    """A TIFF of an array [h w] or [h w c] of any type; `data` replaces the pixels' bytes."""
    h, w = values.shape[:2]
    c = 1 if values.ndim == 2 else values.shape[2]
    if data is None:
        stored = np.moveaxis(values, 2, 0) if planes else values
        data = stored.astype(values.dtype.newbyteorder(order)).tobytes()
    data = zlib.compress(data) if deflate else data
    photometric = photometric if photometric is not None else 1 if c == 1 else 2
    kind = {"u": 1, "i": 2, "f": 3}[values.dtype.kind]
    short, long = "H", "I"
    tags = {
        256: (long, [w]),
        257: (long, [h]),
        258: (short, [bits or 8 * values.dtype.itemsize] * c),
        259: (short, [8 if deflate else 1]),
        262: (short, [photometric]),
        273: (long, [0]),  # where the pixels start, set below
        277: (short, [c]),
        278: (long, [h]),
        279: (long, [len(data)]),
        284: (short, [2 if planes else 1]),
        339: (short, [kind] * c),
    }
    if extra is not None:
        tags[338] = (short, [extra])
    return _directory(tags, order, data)


def _directory(tags, order, data):
    size = 2 + 12 * len(tags) + 4
    overflow = {tag: struct.calcsize(f"={len(v)}{t}") for tag, (t, v) in tags.items()}
    start = 8 + size + sum(n for n in overflow.values() if n > 4)
    tags[273] = (tags[273][0], [start])
    entries, after = b"", b""
    for tag, (kind, numbers) in sorted(tags.items()):
        content = struct.pack(f"{order}{len(numbers)}{kind}", *numbers)
        if len(content) > 4:
            content, after = struct.pack(f"{order}I", 8 + size + len(after)), after + content
        entries += struct.pack(f"{order}HHI", tag, {"H": 3, "I": 4}[kind], len(numbers)) + content.ljust(4, b"\0")
    head = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(f"{order}IH", 8, len(tags))
    return head + entries + struct.pack(f"{order}I", 0) + after + data
