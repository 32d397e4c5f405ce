"""Runs a detector that was exported to ONNX. It takes this file, the model, its manifest, numpy and onnxruntime.

    python gnl_onnx.py part.onnx image.png folder/*.png ...   # a line for each image, as `gnl-jax score` writes it

    detector = load("part.onnx")                  # refuses a model or manifest of which a byte was altered
    result = detector.inspect("image.png")        # decision, reason, score, p-value, drift, boxes
    outputs = detector(np.stack([detector.resize(image) for image in images]))

Images are uint8 [h w 3] (RGB), files of them .npy; other image files are read with Pillow, if it is installed.
"""

import hashlib
import json
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from gnl_jax.data.pixels import read_file, read_image
from gnl_jax.deploy.onnx.map_boxes import boxes
from gnl_jax.deploy.onnx.part_run import native_windows, run_part
from gnl_jax.deploy.runtime import resize
from gnl_jax.detection.boxes import Axis, grid_axes, square_axes
from gnl_jax.detection.inspection import Inspected
from gnl_jax.detection.rows import csv_writer, jsonl_writer
from gnl_jax.detection.windows import Grid, Joined, read_grid

Picture = str | os.PathLike | bytes | np.ndarray
MANIFEST = ".json"  # after the model's name
ERROR = "ERROR"
AT_ONCE = 8  # windows of one call


class ModelError(ValueError):
    """A model or manifest that is missing, altered, or of another kind; the message names it."""


def manifest_bytes(content: Mapping[str, Any]) -> bytes:
    """A manifest's file: its content and the SHA-256 of that, as JSON that can be written in one way only."""
    digest = hashlib.sha256(_canonical(content)).hexdigest()
    return _canonical({"manifest": content, "sha256": digest}) + b"\n"


def _canonical(value: Any) -> bytes:
    return json.dumps(value, sort_keys=True, indent=1, allow_nan=False, ensure_ascii=True).encode()


def read_manifest(data: bytes, *, name: str) -> dict[str, Any]:
    """The content of a manifest's file. Raises ModelError where a byte is other than `manifest_bytes` wrote it."""
    try:
        content = json.loads(data)["manifest"]
        if manifest_bytes(content) == data and content["kind"] == "onnx":
            return content
    except (ValueError, KeyError, TypeError, RecursionError):
        pass
    raise ModelError(f"{name}: damaged, altered or of another kind, expected the manifest as it was written")


@dataclass(frozen=True)
class Model:
    """A model that was checked; `run` is its session.

    Attributes:
        manifest: what the model says of itself.
        run: images -> outputs by name; with windows also before=, the output "after" of the part's windows before.
    """

    manifest: dict[str, Any]
    run: Callable[..., dict[str, np.ndarray]]

    @property
    def grid(self) -> Grid | None:
        """Where the windows are of a model that takes windows; None for one of whole images."""
        windows = self.manifest["image"].get("windows")
        return None if windows is None else read_grid(windows)

    @property
    def shape(self) -> tuple[int, int]:
        """(height, width) of the images that a call takes; with windows, of the whole ones."""
        grid = self.grid
        return tuple(self.manifest["input"]["size"]) if grid is None else grid.frame

    def resize(self, image: np.ndarray) -> np.ndarray:
        """What a call takes of an image uint8 [h w 3]: the square; as it is if the model resizes or has windows."""
        how = self.manifest["image"]
        if self.grid is not None or self.manifest["resizes"]:
            return self._check(np.asarray(image)[None])[0]
        return resize(image, how["size"], resize=how["resize"], filter=how["filter"])

    def __call__(self, images: np.ndarray) -> dict[str, np.ndarray]:
        """Outputs by name for images uint8 [n h w 3], n from 1.

        They are score, map, p_value, decision, reason and, if it is measured, drift and drift_p_value.

        Raises:
            ValueError: other images, or an image whose score or drift is not finite.
        """
        images, grid = self._check(images), self.grid
        if grid is None:
            outputs = self.run(images)
        else:
            parts = [self._part(image, grid) for image in images]
            outputs = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
        for kind in ("score", "drift"):
            for i in np.flatnonzero(~np.isfinite(outputs.get(kind, ()))):
                raise ValueError(f"{kind} of image {i}: got {outputs[kind][i]}, expected a finite number")
        return outputs

    def _part(self, image: np.ndarray, grid: Grid) -> dict[str, np.ndarray]:
        """Outputs of a whole image by its windows, [1] each, the map joined [1 h w]."""

        def cut(image: np.ndarray, grid: Grid, indices: range) -> np.ndarray:
            windows = native_windows(image, grid, indices)
            if self.manifest["resizes"]:
                return windows
            return np.stack([resize(window, grid.side, filter=grid.filter) for window in windows])

        joined = Joined(grid)
        outputs = run_part(self.run, image, grid, cut=cut, at_once=AT_ONCE, see=joined.add)
        return outputs | {"map": joined.result()[None]}

    def inspect(self, images: Picture | Sequence[Picture]) -> Inspected | list[Inspected]:
        """The result for one image, or one for each of several, in order.

        An image is a path, the bytes of an image file, or an array uint8 [h w 3] (RGB). One that cannot be used is
        "ERROR", never "OK". Several threads may call this.
        """
        if isinstance(images, str | os.PathLike | bytes | np.ndarray):
            return self._inspect(images, 0)
        return [self._inspect(image, i) for i, image in enumerate(images)]

    def _inspect(self, item: Picture, i: int) -> Inspected:
        path = os.fspath(item) if isinstance(item, str | os.PathLike) else f"image {i}"
        try:
            image, grid = np.asarray(self._read(item, path)), self.grid
            if grid is not None and image.ndim == 3 and (wrong := grid.native.wrong(image.shape[:2])):
                raise ValueError(f"{path}: {wrong}")
            outputs = self(self.resize(image)[None])
        except (ValueError, OSError, EOFError, MemoryError) as error:
            return Inspected(path, ERROR, str(error) or type(error).__name__)
        one = {name: value[0] for name, value in outputs.items()}
        threshold = self.manifest["thresholds"]["review"]
        return Inspected(
            path,
            self.manifest["decisions"][int(one["decision"])],
            self.manifest["reasons"][int(one["reason"])],
            float(one["score"]),
            self._p_value(one, "p_value", "score"),
            float(one["drift"]) if "drift" in one else None,
            self._p_value(one, "drift_p_value", "drift"),
            tuple(boxes(one["map"], threshold, self._axes(image.shape[:2]))),
        )

    def _axes(self, source: tuple[int, int]) -> tuple[Axis, Axis]:
        """How the two sides of a map lie on an image of a (height, width)."""
        if (grid := self.grid) is not None:
            return grid_axes(grid, source)
        how = self.manifest["image"]
        return square_axes(how["size"], how["resize"] or how["size"], source)

    def _p_value(self, outputs: Mapping[str, Any], name: str, kind: str) -> float | None:
        """As float64: the graph counts, which float32 holds exactly, and divides by n + 1."""
        n = self.manifest["calibration"][kind]
        return round(float(outputs[name]) * (n + 1)) / (n + 1) if name in outputs else None

    def _read(self, item: Picture, path: str) -> np.ndarray:
        if isinstance(item, np.ndarray):
            return item
        if path.endswith(".npy"):
            return np.load(path, allow_pickle=False)
        if read_image is None:
            raise ValueError(f"{path!r}: reading it takes the package Pillow; expected it, or an array in a .npy file")
        how = self.manifest["image"]
        alpha = how["alpha"]
        alpha = alpha if alpha in ("error", "drop") else tuple(int(level) for level in alpha.split(","))
        data = item if isinstance(item, bytes) else read_file(path)
        return read_image(data, name=path, white=how["white"] or None, alpha=alpha)

    def _check(self, images: np.ndarray) -> np.ndarray:
        shape, dtype = getattr(images, "shape", None), getattr(images, "dtype", None)
        if shape is None or len(shape) != 4 or not shape[0] or shape[1:] != (*self.shape, 3) or dtype != np.uint8:
            found = f"{dtype} {list(shape)}" if shape is not None else type(images).__name__
            raise ValueError(f"images: got {found}, expected uint8 [n {self.shape[0]} {self.shape[1]} 3] (RGB)")
        return images


def load(path: str | os.PathLike) -> Model:
    """Reads a model, checks every byte of it and of its manifest, and starts a session of onnxruntime.

    Raises:
        ModelError: naming the file and what is wrong with it.
    """
    manifest, data = read_model(path)
    import onnxruntime

    session = onnxruntime.InferenceSession(data, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]

    def run(images: np.ndarray, **others: np.ndarray) -> dict[str, np.ndarray]:
        return dict(zip(names, session.run(names, {"images": images, **others}), strict=True))

    return Model(manifest, run)


def read_model(path: str | os.PathLike) -> tuple[dict[str, Any], bytes]:
    """Manifest and bytes of a model. Raises ModelError unless both are as they were written."""
    path = Path(path)
    parts = []
    for file in (path.with_name(path.name + MANIFEST), path):
        try:
            parts.append(file.read_bytes())
        except OSError as error:
            raise ModelError(f"{file}: {error.strerror}, expected a model with its manifest beside it") from error
    manifest = read_manifest(parts[0], name=f"{path}{MANIFEST}")
    expected = manifest["model"]
    if len(parts[1]) != expected["bytes"] or hashlib.sha256(parts[1]).hexdigest() != expected["sha256"]:
        raise ModelError(f"{path}: damaged or altered (its SHA-256 differs), expected the model of its manifest")
    return manifest, parts[1]


def main(arguments: list[str]) -> None:
    """A line for each image: CSV, or JSON after --jsonl."""
    writer = jsonl_writer if "--jsonl" in arguments else csv_writer
    arguments = [argument for argument in arguments if argument != "--jsonl"]
    if len(arguments) < 2:
        sys.exit("usage: python gnl_onnx.py MODEL.onnx IMAGE ... [--jsonl]")
    try:
        detector = load(arguments[0])
    except (ValueError, ImportError) as error:
        sys.exit(f"error: {error}")
    write = writer(sys.stdout)
    for path in arguments[1:]:
        write(detector._inspect(path, 0))


if __name__ == "__main__":
    main(sys.argv[1:])
