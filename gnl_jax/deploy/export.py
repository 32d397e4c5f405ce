"""A detector as one program for a line computer; it is written only if it decides as the detector does.

The file is a container whose arrays are the variables' leaves and the calibration, whose program is StableHLO for any
batch size; `runtime.py`, which needs numpy, jax and flatbuffers alone, runs it.
"""

import functools
import itertools
import os
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import export as jax_export
from jax import lax

from gnl_jax.deploy import runtime
from gnl_jax.deploy.trials import (
    TOLERANCE,
    ExportError,
    check_whole,
    geometry,
    near,
    squares,
    three_sizes,
    thresholds,
)
from gnl_jax.detection.container import pack
from gnl_jax.detection.detector import Detector
from gnl_jax.files import write_atomic
from gnl_jax.images.resize import Geometry
from gnl_jax.methods.base import Prediction
from gnl_jax.progress import progress_bar

PLATFORMS = ("cpu", "cuda", "tpu")


def export_detector(
    detector: Detector,
    path: str | os.PathLike,
    *,
    images: Sequence[np.ndarray],
    input_size: tuple[int, int] | None = None,
    platforms: Sequence[str] = PLATFORMS,
) -> dict[str, float]:
    """Writes a calibrated detector as a file that `runtime.load` reads, and checks it on this device first.

    Args:
        detector: a calibrated one.
        path: the file; replaced as a whole, or left as it was.
        images: good images uint8 [h w 3] in their native sizes, to check the export on; where they have fewer than
            three, some are cut.
        input_size: (height, width) of images that the program resizes itself; None: it takes squares, made by
            `Exported.resize`.
        platforms: kinds of device that it is to run on, this one among them.

    Returns:
        The largest relative differences found: {"score", and "map" and "drift" if the detector has them}.

    Raises:
        ExportError: the export resizes, scores or decides other than the detector, or no image near a threshold could
            be made, so that this cannot be known.
        runtime.ArtifactError: it does not run on this device.
        ValueError: a detector without a record or a false-alarm rate, no images, images of another kind or size than
            the program takes.
        OSError: naming the file.
    """
    record, images = detector.require_record(), [np.asarray(image) for image in images]
    record.require_rules()
    check_whole(detector, "as StableHLO")
    if not images:
        raise ValueError("images: got none, expected good images to check the export on")
    program, outputs, leaves = make_program(detector, input_size=input_size, platforms=platforms)
    manifest = dict(record.manifest) | {"kind": "export", "jax": jax.__version__, "platforms": list(platforms)}
    manifest |= {"input": list(input_size or (None, None)), "outputs": outputs}
    arrays = {f"variables/{i:05d}": np.asarray(leaf) for i, leaf in enumerate(leaves)}
    arrays |= {f"calibration/{kind}": np.sort(np.asarray(a)) for kind, a in record.calibration._asdict().items()}
    data, various = pack(manifest, arrays, program), images if input_size else three_sizes(images)
    pair = _Pair(detector, runtime.loads(data, name=os.fsdecode(path)))
    limits, differences = thresholds(detector), dict.fromkeys(outputs, 0.0)
    checks = itertools.chain(([image] for image in various), (near(detector, images, limit) for limit in limits))
    with progress_bar("checking the export", len(various) + len(limits)) as advance:
        for some in checks:
            differences = {kind: max(differences[kind], found) for kind, found in pair.compare(some).items()}
            advance(1)
    write_atomic(path, data)
    return differences


def write_runtime(folder: str | os.PathLike) -> Path:
    """Copies `runtime.py` into a folder as `gnl_runtime.py`: all of gnl_jax that a line computer needs."""
    path = Path(folder) / "gnl_runtime.py"
    write_atomic(path, Path(runtime.__file__).read_bytes())
    return path


def make_program(
    detector: Detector, *, input_size: tuple[int, int] | None = None, platforms: Sequence[str] = PLATFORMS
) -> tuple[bytes, list[str], list[jax.Array]]:
    """(serialised program, names of its outputs, leaves): a function of the variables' leaves and images.

    The images are uint8 [b s s 3], or [b *input_size 3], for any b. No path of this machine is in the program.
    """
    leaves, tree = jax.tree.flatten(jax.tree.map(jnp.asarray, detector.variables))
    outputs: list[str] = []

    def score(leaves, images):
        squares = images if input_size is None else resize_in_program(images, geometry(detector))
        prediction = detector.score_batch(jax.tree.unflatten(tree, leaves), squares)
        outputs[:] = [name for name, x in zip(Prediction._fields, prediction) if x is not None]
        return tuple(x for x in prediction if x is not None)

    sample = jax.ShapeDtypeStruct((*jax_export.symbolic_shape("b"), *(input_size or (detector.size,) * 2), 3), np.uint8)
    limit = jax.config.values["jax_traceback_in_locations_limit"]
    jax.config.update("jax_traceback_in_locations_limit", 0)
    try:
        program = jax_export.export(jax.jit(score), platforms=tuple(platforms))(leaves, sample).serialize()
    finally:
        jax.config.update("jax_traceback_in_locations_limit", limit)
    return bytes(program), outputs, leaves


@functools.partial(jax.jit, static_argnames="geometry")
def resize_in_program(images: jax.Array, geometry: Geometry) -> jax.Array:
    """`gnl_jax.images.resize.resize` in JAX, to the last bit: uint8 [b h w 3] -> uint8 [b size size 3]."""
    side, start = geometry.resized, round((geometry.resized - geometry.size) / 2)
    images = _resample(_resample(images, side, geometry.filter, axis=2), side, geometry.filter, axis=1)
    return images[:, start : start + geometry.size, start : start + geometry.size]


def _resample(images: jax.Array, size: int, filter: str, *, axis: int) -> jax.Array:
    """One pass in 32-bit integers, which cannot overflow (`runtime.taps`)."""
    if images.shape[axis] == size:
        return images
    index, weight = (jnp.asarray(table.T) for table in runtime.taps(images.shape[axis], size, filter))

    def add(k, total):
        pixels = jnp.take(images, index[k], axis=axis, mode="clip").astype(jnp.int32)
        return total + pixels * jnp.expand_dims(weight[k], [i for i in range(4) if i != axis])

    half = jnp.full((*images.shape[:axis], size, *images.shape[axis + 1 :]), 1 << (runtime.PRECISION - 1), jnp.int32)
    total = lax.fori_loop(0, len(index), add, half)  # all taps at once would take several times the images' memory
    return jnp.clip(total >> runtime.PRECISION, 0, 255).astype(jnp.uint8)


class _Pair(NamedTuple):
    """A detector and its export, side by side on this device; images are uint8 [h w 3], any that it resizes."""

    detector: Detector
    exported: runtime.Exported

    def compare(self, images: Sequence[np.ndarray]) -> dict[str, float]:
        """The largest relative differences. ExportError: other pixels, decisions, or numbers beyond the tolerance."""
        seen, inputs = squares(self.detector, images), np.stack([self.exported.resize(image) for image in images])
        inside = None not in self.exported.manifest["input"]
        pixels = resize_in_program(inputs, geometry(self.detector)) if inside else inputs
        if not np.array_equal(pixels, seen):
            raise ExportError(f"resizing {list(images[0].shape)}: the export has other pixels than Pillow")
        expected, got, differences = self.detector(seen), self.exported(inputs), {}
        for kind in self.exported.manifest["outputs"]:
            a, b = (getattr(x, kind).reshape(len(images), -1) for x in (got, expected))
            scale = np.maximum(np.abs(b).max(1), np.finfo(np.float32).tiny)
            off = differences[kind] = float((np.abs(a - b).max(1) / scale).max())
            if not off <= TOLERANCE:
                raise ExportError(f"{kind}: the export is off by {off:.2g}, expected {TOLERANCE:g} or less")
        quiet = expected._replace(score=np.full_like(expected.score, -1e30))  # below all, so that drift alone decides
        # On its own numbers the export may differ where a threshold is so near that rounding decides.
        away = [abs(getattr(expected, kind) - t) > TOLERANCE * abs(t) for _, kind, t in thresholds(self.detector)]
        for ours, theirs, where in (expected, expected, True), (quiet, quiet, True), (expected, got, np.all(away, 0)):
            self.compare_decisions(ours, theirs, where)
        return differences

    def compare_decisions(
        self, ours: Prediction[np.ndarray], theirs: Prediction[np.ndarray] | runtime.Scores, where: np.ndarray | bool
    ) -> None:
        """ExportError for an image on which they do not agree; only those `where` it is set, bool [n] or for all."""
        expected, says = self.detector.decide(ours), self.exported.decide(*theirs[::2])
        differ = [here[:2] != there for here, there in zip(expected, says, strict=True)] & np.asarray(where)
        for i in np.flatnonzero(differ):
            numbers = [float(x[i]) for x in ours[::2] if x is not None]
            raise ExportError(f"decision at score and drift {numbers}: got {says[i]}, expected {expected[i][:2]}")
