"""Runs an exported detector: this file, the exported one, and the packages numpy, jax and flatbuffers are all it takes.

    python gnl_runtime.py part.gnlx image.npy ...    # prints each image's decision, reason, score and drift

    detector = load("part.gnlx")                     # compiles the program for this computer
    score, anomaly_map, drift = detector(np.stack([detector.resize(image) for image in images]))
    decisions = detector.decide(score, drift)        # [("OK", ""), ("REVIEW", "drift"), ("NG", "score"), ...]

Images are uint8 [h w 3] (RGB). This is gnl_jax/deploy/runtime.py, which imports nothing of gnl_jax.
"""

import functools
import hashlib
import json
import math
import os
import struct
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
from jax import export as jax_export

MAGIC = b"\x89GNL\r\n\x1a\n"
VERSION = 1
HEADER = struct.Struct("<8s32sI16sQQQ")  # magic, SHA-256 of the rest, version, gnl_jax it needs, three lengths
_HASHED_FROM = 40
OK, REVIEW, NG = "OK", "REVIEW", "NG"
FILTERS = {"bilinear": 1, "lanczos": 3}  # half their width in pixels
PRECISION = 22  # bits of Pillow's fixed-point weights: 32 - 8 for a pixel - 2 for a sum of |weights| up to 2
_DTYPES = {"F64": "<f8", "F32": "<f4", "F16": "<f2", "I64": "<i8", "I32": "<i4", "I16": "<i2", "I8": "i1"}
_DTYPES |= {"U64": "<u8", "U32": "<u4", "U16": "<u2", "U8": "u1", "BOOL": "?"}
_PLATFORMS = {"gpu": ("cuda", "rocm")}  # jax's name for a device -> an export's


class ArtifactError(ValueError):
    """A file that is no exported detector, is damaged, or cannot run here; the message names it."""


class Content(NamedTuple):
    """What a file holds: the manifest as JSON gives it, arrays by name, the program's bytes."""

    manifest: dict[str, Any]
    arrays: dict[str, np.ndarray]
    program: bytes


class Scores(NamedTuple):
    """Of n images: score float32 [n] (higher is more anomalous), map [n s s] and drift [n], or None."""

    score: np.ndarray
    map: np.ndarray | None = None
    drift: np.ndarray | None = None


def unpack(data: bytes, *, name: str) -> Content:
    """Reads a file's bytes; damage is found before anything is parsed. Raises ArtifactError naming the file."""
    if len(data) < HEADER.size or not data.startswith(MAGIC):
        raise ArtifactError(f"{name}: got another kind of file or a damaged one, expected an exported detector")
    _, digest, version, needs, *lengths = HEADER.unpack_from(data)
    if hashlib.sha256(memoryview(data)[_HASHED_FROM:]).digest() != digest:
        raise ArtifactError(f"{name}: damaged or cut off (its SHA-256 differs), expected a whole file")
    if version > VERSION:
        needed = needs.rstrip(b"\0").decode("ascii", "replace")
        raise ArtifactError(f"{name}: got format {version}, expected {VERSION} or older; it needs gnl_jax {needed}")
    parts, start = [], HEADER.size
    for length in lengths:
        parts.append(data[start : start + length])
        start += length
    if start != len(data):
        raise ArtifactError(f"{name}: got {len(data)} bytes, expected {start} by its own account")
    try:
        return Content(json.loads(parts[0]), read_arrays(parts[1]), parts[2])
    except ValueError as error:
        raise ArtifactError(f"{name}: {error}; expected the manifest and arrays of a detector") from error


def read_arrays(data: bytes) -> dict[str, np.ndarray]:
    """Arrays by name from the safetensors format. Raises ValueError for what is not whole and without gaps."""
    length = int.from_bytes(data[:8], "little")
    if len(data) < 8 + length:
        raise ValueError(f"arrays: got {len(data)} bytes, expected at least {8 + length}")
    arrays, end, body = {}, 0, memoryview(data)[8 + length :]
    try:
        entries = json.loads(data[8 : 8 + length])
        entries.pop("__metadata__", None)
        for name, entry in sorted(entries.items(), key=lambda item: item[1]["data_offsets"]):
            (start, stop), shape = entry["data_offsets"], entry["shape"]
            dtype = np.dtype(_DTYPES[entry["dtype"]])
            whole = all(type(n) is int and n >= 0 for n in shape) and stop - start == math.prod(shape) * dtype.itemsize
            if start != end or stop > len(body) or not whole:
                raise ValueError(f"{name}: got {dtype} {shape} in bytes {start} to {stop}, expected it from {end} on")
            arrays[name] = np.frombuffer(body[start:stop], dtype).reshape(shape)
            end = stop
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise ValueError(f"arrays: {type(error).__name__}: {error}; expected the header of safetensors") from error
    if end != len(body):
        raise ValueError(f"arrays: got {len(body)} bytes, expected {end}")
    return arrays


@functools.lru_cache(maxsize=64)
def taps(length: int, size: int, filter: str) -> tuple[np.ndarray, np.ndarray]:
    """Which of `length` pixels make up each of `size` new ones: indices int32 [size k], weights int32 [size k].

    Weights are in 22-bit fixed point, stretched where the image shrinks, as Pillow's Resample.c computes them in double
    (precompute_coeffs, normalize_coeffs_8bpc). The sum of their absolute values stays under 2, so that 255 times it
    fits 32 bits.
    """
    scale = length / size
    stretch = max(scale, 1.0)
    support = FILTERS[filter] * stretch
    middle = (np.arange(size) + 0.5) * scale
    first = np.maximum((middle - support + 0.5).astype(np.int64), 0)
    last = np.minimum((middle + support + 0.5).astype(np.int64), length)
    index = first[:, None] + np.arange((last - first).max())
    x = (index - middle[:, None] + 0.5) * (1.0 / stretch)
    weight = np.maximum(1.0 - np.abs(x), 0.0) if filter == "bilinear" else _lanczos(x)
    weight = np.where(index < last[:, None], weight, 0.0)
    total = np.add.accumulate(weight, axis=1)[:, -1:]  # in this order, as Pillow adds
    weight = np.divide(weight, total, out=weight, where=total != 0)
    fixed = np.trunc(weight * (1 << PRECISION) + np.copysign(0.5, weight))
    return np.minimum(index, length - 1).astype(np.int32), fixed.astype(np.int32)


def _lanczos(x: np.ndarray) -> np.ndarray:
    """The truncated sinc; by math.sin, since NumPy's may differ from Pillow's in the last bit."""

    def sinc(x: float) -> float:
        return math.sin(x * math.pi) / (x * math.pi) if x else 1.0

    values = [sinc(v) * sinc(v / 3.0) if -3.0 <= v < 3.0 else 0.0 for v in x.ravel().tolist()]
    return np.array(values).reshape(x.shape)


def _resample(x: np.ndarray, size: int, filter: str) -> np.ndarray:
    """One pass along the first axis: uint8 [h ...] -> uint8 [size ...]."""
    if len(x) == size:
        return x
    index, weight = taps(len(x), size, filter)
    total = np.full((size, *x.shape[1:]), 1 << (PRECISION - 1), np.int32)
    for k in range(index.shape[1]):
        total += x[index[:, k]] * weight[:, k].reshape(-1, *(1,) * (x.ndim - 1))
    return np.clip(total >> PRECISION, 0, 255).astype(np.uint8)


def resize(image: np.ndarray, size: int, *, resize: int = 0, filter: str = "bilinear") -> np.ndarray:
    """Makes an image a square, to the last bit as Pillow does: uint8 [h w 3] -> uint8 [size size 3].

    Width first, then height, to `resize` pixels a side (0: `size`), of which the central `size` are kept; margins that
    cannot be equal are rounded half to even. Raises ValueError for another shape, type or filter.
    """
    image, side = np.asarray(image), resize or size
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[-1] != 3 or 0 in image.shape:
        raise ValueError(f"image: got {image.dtype} {list(image.shape)}, expected uint8 [h w 3] (RGB)")
    if filter not in FILTERS or not 1 <= size <= side:
        raise ValueError(f"got size {size}, resize {resize}, filter {filter!r}, expected one of {', '.join(FILTERS)}")
    wide = _resample(np.ascontiguousarray(image.swapaxes(0, 1)), side, filter).swapaxes(0, 1)
    start = round((side - size) / 2)
    return np.ascontiguousarray(_resample(wide, side, filter)[start : start + size, start : start + size])


def p_counts(calibration: np.ndarray, scores: np.ndarray) -> np.ndarray:
    """1 + the number of calibration scores [n], ascending, that are at least as high as each score [b] -> int64 [b]."""
    if not np.isfinite(scores).all():
        raise ValueError("scores: got one that is not finite, expected numbers")
    return 1 + len(calibration) - np.searchsorted(calibration, scores, side="left")


@dataclass(frozen=True)
class Exported:
    """An exported detector, compiled; `shape` is (height, width) of the images that a call takes."""

    manifest: dict[str, Any]
    calibration: dict[str, np.ndarray]
    run: Callable[[np.ndarray], Iterable[jax.Array]]
    shape: tuple[int, int]

    @property
    def size(self) -> int:
        """Side of the squares that the networks see, and of the maps, in pixels."""
        return self.manifest["image"]["size"]

    def resize(self, image: np.ndarray) -> np.ndarray:
        """What a call takes of an image uint8 [h w 3]: the square, or the image as it is if the program resizes."""
        how = self.manifest["image"]
        if None in self.manifest["input"]:
            return resize(image, how["size"], resize=how["resize"], filter=how["filter"])
        return self._check(np.asarray(image)[None])[0]

    def __call__(self, images: np.ndarray) -> Scores:
        """Scores images uint8 [n *shape 3], any n, in batches that are filled up with zeros to the full size.

        Raises ValueError for other images, or naming the first image whose score is not finite.
        """
        self._check(images)
        side, kinds, full = (self.size, self.size), self.manifest["outputs"], self.manifest["batch_size"]
        parts = [[np.zeros((0, *side) if kind == "map" else 0, np.float32) for kind in kinds]]
        for start in range(0, len(images), full):
            batch = images[start : start + full]
            fill = np.zeros((full - len(batch), *batch.shape[1:]), np.uint8)
            parts.append([np.asarray(x)[: len(batch)] for x in self.run(np.concatenate([batch, fill]))])
        scores = Scores(**{kind: np.concatenate(part) for kind, part in zip(kinds, zip(*parts))})
        for kind in {"score", "drift"} & set(kinds):
            values = getattr(scores, kind)
            for i in np.flatnonzero(~np.isfinite(values))[:1]:
                raise ValueError(f"{kind} of image {i}: got {values[i]}, expected a finite number")
        return scores

    def decide(self, score: np.ndarray, drift: np.ndarray | None = None) -> list[tuple[str, str]]:
        """(decision, reason) of each image: OK, REVIEW or NG; "score", "drift" or, with OK, "".

        In integers: a rule stops an image if at most k - 1 of the n calibration images have a score as high.
        """
        rules, stopped = self.manifest["rules"], {}
        for rule, values in (("ng", score), ("review", score), ("drift", drift)):
            stopped[rule] = np.zeros(len(score), bool)
            if rules.get(rule):
                if values is None:
                    raise ValueError("drift: got None, expected the drift of each image: this detector's rules use it")
                kind = "drift" if rule == "drift" else "score"
                stopped[rule] = p_counts(self.calibration[kind], np.asarray(values)) <= rules[rule]["k"]
        return [
            (NG, "score") if ng else (REVIEW, "score") if review else (REVIEW, "drift") if drifted else (OK, "")
            for ng, review, drifted in zip(stopped["ng"], stopped["review"], stopped["drift"], strict=True)
        ]

    def _check(self, images: np.ndarray) -> np.ndarray:
        shape, dtype = getattr(images, "shape", None), getattr(images, "dtype", None)
        if shape is None or len(shape) != 4 or shape[1:] != (*self.shape, 3) or dtype != np.uint8:
            found = f"{dtype} {list(shape)}" if shape is not None else type(images).__name__
            raise ValueError(f"images: got {found}, expected uint8 [n {self.shape[0]} {self.shape[1]} 3] (RGB)")
        return images


def load(path: str | os.PathLike) -> Exported:
    """Reads an exported detector and compiles it for this computer's default device. Raises ArtifactError naming it."""
    try:
        data = Path(path).read_bytes()
    except OSError as error:
        raise ArtifactError(f"{os.fsdecode(path)}: {error.strerror}, expected an exported detector") from error
    return loads(data, name=os.fsdecode(path))


def loads(data: bytes, *, name: str) -> Exported:
    """As `load`, from the file's bytes."""
    manifest, arrays, program = unpack(data, name=name)
    kind = manifest.get("kind") if isinstance(manifest, dict) else None
    if kind != "export":
        raise ArtifactError(f"{name}: got a file of kind {kind!r}, expected 'export': export it from the artifact")
    try:
        calibration = {kind: np.sort(arrays.pop(f"calibration/{kind}")) for kind in ("score", "drift")}
        for rule, how in manifest["rules"].items():
            n = len(calibration["drift" if rule == "drift" else "score"])
            if how and (how["n"] != n or not 1 <= how["k"] <= n):
                raise ValueError(f"rule {rule}: got k {how['k']}, n {how['n']}, expected n {n} and k from 1 to n")
        leaves = [arrays[f"variables/{i:05d}"] for i in range(len(arrays))]
        made, platforms = manifest["jax"], manifest["platforms"]
        if not {"score"} <= set(manifest["outputs"]) <= set(Scores._fields):
            raise ValueError(f"outputs: got {manifest['outputs']}, expected score and of map, drift what there is")
        height, width = (n or manifest["image"]["size"] for n in manifest["input"])
        images = jax.ShapeDtypeStruct((manifest["batch_size"], height, width, 3), np.uint8)
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise ArtifactError(f"{name}: {type(error).__name__}: {error}; expected all that an export has") from error
    backend = jax.default_backend()
    if not set(_PLATFORMS.get(backend, (backend,))) & set(platforms):
        raise ArtifactError(f"{name}: got a device of kind {backend}, expected one of {', '.join(platforms)}")
    try:
        compiled = jax.jit(jax_export.deserialize(bytearray(program)).call).lower(leaves, images).compile()
    except ImportError as error:
        raise ArtifactError(f"{name}: {error}; expected the package flatbuffers beside jax") from error
    except Exception as error:
        raise ArtifactError(
            f"{name}: jax {jax.__version__} cannot run a program exported by jax {made} ({error}); expected a jax near "
            "that version, or export again from the artifact"
        ) from error
    return Exported(manifest, calibration, functools.partial(compiled, jax.device_put(leaves)), (height, width))


def main(arguments: list[str]) -> None:
    """The command line: a detector's file, then images; a line for each."""
    if len(arguments) < 2:
        sys.exit("usage: python gnl_runtime.py EXPORTED.gnlx IMAGE.npy ...   (each uint8 [h w 3], RGB)")
    try:
        detector = load(arguments[0])
        for name in arguments[1:]:
            result = detector(detector.resize(np.load(name, allow_pickle=False))[None])
            decision, reason = detector.decide(result.score, result.drift)[0]
            drift = "" if result.drift is None else f"{result.drift[0]:.6g}"
            print(name, decision, reason, f"{result.score[0]:.6g}", drift, sep="\t")
    except (OSError, ValueError) as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    main(sys.argv[1:])
