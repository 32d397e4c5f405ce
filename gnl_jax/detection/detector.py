"""The one way from images to scores and decisions: used by evaluation, export, the command line and users alike."""

import html
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any, Unpack, overload

import jax
import numpy as np

from gnl_jax.batches import ImageSource, ShapedSource
from gnl_jax.detection import inspection
from gnl_jax.detection.forks import check_not_forked, note_use
from gnl_jax.detection.frames import One, Options, Several
from gnl_jax.detection.inspection import Inspected
from gnl_jax.detection.record import Decision, Record, describe_parent, describe_rules
from gnl_jax.detection.windowed import predict_windows
from gnl_jax.detection.windows import Grid
from gnl_jax.methods.base import Method, Prediction, each_array, joined
from gnl_jax.overlap import overlapped
from gnl_jax.text import printable

PyTree = Any


@dataclass(frozen=True)
class Detector:
    """Scores and inspects images: `detector.inspect(image)`; called on images of `shape`, it is `predict`.

    It may be used by several threads at once, and pickled for other processes. `record` is what `gnl_jax.fit` and
    `gnl_jax.load` add: with it a detector decides and can be saved. `method` is the one that
    `fit` or `load` was given instead of a configuration's.
    """

    variables: PyTree
    score_batch: Callable[[PyTree, jax.Array | np.ndarray], Prediction[jax.Array]]
    size: int
    batch_size: int = 32
    record: Record | None = None
    method: Method | None = None

    def __post_init__(self):
        note_use()

    def __call__(self, images: ShapedSource) -> Prediction[np.ndarray]:
        """Scores, maps and drift of images uint8 [n s s 3]: `predict`."""
        return predict(self, images)

    @property
    def grid(self) -> Grid | None:
        """Where its windows are; None for a detector of whole images."""
        return None if self.record is None else self.record.grid

    @property
    def shape(self) -> tuple[int, int]:
        """(height, width) of the images it is called on: the squares of its networks, or whole images with windows."""
        return self.grid.frame if self.grid else (self.size, self.size)

    def __repr__(self) -> str:
        """What it is, how it decides, where it came from: a line each; never its arrays."""
        if self.record is None:
            return f"Detector: {self.size}x{self.size}, batches of {self.batch_size}, not calibrated"
        manifest = self.record.manifest
        config, made, images = manifest["config"], manifest["made"], len(manifest["data"]["fit"])
        versions = ", ".join(f"{name} {made['versions'][name]}" for name in ("gnl_jax", "jax"))
        parent = manifest["parent"]
        again = f"; {describe_parent(parent)}" if parent else ""
        learned = f"{config['method']['name']}, teacher {config['teacher']['arch']} ({config['teacher']['weights']})"
        if self.method is not None:
            learned = self.method.name
        windows = f", {self.grid.describe()}" if self.grid else ""
        return (
            f"Detector: {learned}, {self.size}x{self.size}{windows}, matching {self.record.matching}\n"
            f"  {describe_rules(self.record)}\n"
            f"  made {made['date']} on {made['device']} with {versions}, from {images} images{again}"
        )

    def _repr_html_(self) -> str:
        """`repr` as a notebook shows it: what it is, and a table of how it decides and where it came from."""
        first, *others = (printable(line.strip()) for line in repr(self).splitlines())
        names = ("decides", "made", "")[: len(others)]
        rows = [f"<tr><th>{name}</th><td>{html.escape(line)}</td></tr>" for name, line in zip(names, others)]
        return f"<b>{html.escape(first)}</b><table>{''.join(rows)}</table>"

    @overload
    def inspect(self, images: Several, **options: Unpack[Options]) -> Iterator[Inspected]: ...

    @overload
    def inspect(self, images: One, **options: Unpack[Options]) -> Inspected: ...

    @overload
    def inspect(self, images: Any, **options: Unpack[Options]) -> Inspected | Iterator[Inspected]: ...

    def inspect(
        self,
        images: Any,
        *,
        white: float | None = None,
        channels: str = "rgb",
        keep: bool = False,
        maps: bool = False,
        ahead: int | None = None,
        workers: int | None = None,
    ) -> Inspected | Iterator[Inspected]:
        """Decides on one image of any kind and size, or on each of an iterable (`inspection.inspect`).

        >>> detector.inspect("part.png").decision  # doctest: +SKIP
        'OK'
        >>> for result in detector.inspect(Path("incoming").glob("*.png")):  # doctest: +SKIP
        ...     print(result.path, result.decision, result.boxes)
        """
        return inspection.inspect(
            self, images, white=white, channels=channels, keep=keep, maps=maps, ahead=ahead, workers=workers
        )

    def decide(self, prediction: Prediction[np.ndarray]) -> list[Decision]:
        """OK, REVIEW or NG, with the reason and p-values, for what `predict` returned (`Record.decide`)."""
        return self.require_record().decide(prediction)

    def with_rates(self, **rates: Any) -> "Detector":
        """The detector with other false-alarm rates, from its own calibration: ng, review, confidence.

        >>> strict = detector.with_rates(ng="0.5%", review="3%")  # doctest: +SKIP

        Raises RateError for rates that the calibration parts cannot support (`Record.with_rates`).
        """
        return replace(self, record=self.require_record().with_rates(**rates))

    def require_record(self) -> Record:
        """The record; ValueError for a detector without one."""
        if self.record is None:
            raise ValueError("detector: it was not calibrated, expected one of gnl_jax.fit or gnl_jax.load")
        return self.record


def make_detector(
    method: Method,
    state: PyTree,
    images: ImageSource,
    *,
    size: int,
    batch_size: int = 32,
    precision: str = "float32",
    devices: int = 1,
) -> Detector:
    """A detector from a trained state and the training images uint8 [n s s 3] (for the anchors of matching).

    precision: JAX's setting for products of float32 arrays (`matmul_precision`).
    devices: that share the rows of a memory bank, at most; 0 for all there are.
    """
    if batch_size < 1:
        raise ValueError(f"eval.batch_size: got {batch_size}, expected at least 1")
    from gnl_jax.detection.sharding import bank_mesh, shard_banks  # which a detector from a file does not need

    with jax.default_matmul_precision(precision):
        variables = method.finish(method.frozen, state, images)
    variables = shard_banks(variables, bank_mesh(devices))
    return Detector(variables, jax.jit(score_function(method, precision=precision)), size, batch_size)


def score_function(method: Method, *, precision: str) -> Callable[[PyTree, jax.Array], Prediction[jax.Array]]:
    """The method's `score_batch` at one precision of products."""

    def score_batch(variables, batch):
        with jax.default_matmul_precision(precision):
            return method.score_batch(variables, batch)

    return score_batch


def check_images(images: ShapedSource, size: tuple[int, int]) -> None:
    """ValueError unless images are uint8 [n *size 3], or a source that says it reads such (`data/sources.py`)."""
    shape, dtype = getattr(images, "shape", None), getattr(images, "dtype", None)
    if shape is None or len(shape) != 4 or shape[1:] != (*size, 3) or dtype != np.uint8:
        found = f"{dtype} {list(shape)}" if shape is not None else type(images).__name__
        raise ValueError(f"images: got {found}, expected uint8 [n {size[0]} {size[1]} 3] (RGB)")


def predict(
    detector: Detector,
    images: ShapedSource,
    *,
    maps: bool = True,
    advance: Callable[[int], None] = lambda n: None,
) -> Prediction[np.ndarray]:
    """Scores images uint8 [n s s 3], any n: score float32 [n], map float32 [n s s], as NumPy arrays.

    A detector with windows takes whole images uint8 [n h w 3] of its `shape`; `predict_windows` says what it returns.
    A source of images is read batch by batch; without maps its memory does not grow with n.

    Every batch has the full shape, the last one filled up with rows that are dropped again, so the compiled program,
    and with it every score, is the same whatever n is. With `maps=False` no map is brought to the host or kept: 256 KiB
    each at 256x256. `advance(n)` is called after each batch. Raises ValueError for other images, or naming the first
    image whose score is not finite, ForkedError in a forked child of a process that had a detector.
    """
    check_not_forked()
    check_images(images, detector.shape)
    if detector.grid is None:
        return predict_squares(detector, images, maps=maps, advance=advance)

    def score(windows: np.ndarray, image: int) -> Prediction[np.ndarray]:
        return predict_squares(detector, windows, maps=maps)

    return predict_windows(score, images, detector.grid, maps=maps, advance=advance)


def predict_squares(
    detector: Detector,
    images: ShapedSource,
    *,
    maps: bool = True,
    advance: Callable[[int], None] = lambda n: None,
) -> Prediction[np.ndarray]:
    """What the networks say of squares uint8 [n s s 3], as `predict` has it for a detector without windows."""
    size = detector.batch_size
    parts: list[Prediction[np.ndarray]] = []

    def begin(batch: np.ndarray) -> tuple[Prediction[jax.Array], int]:
        fill = np.zeros((size - len(batch), *batch.shape[1:]), np.uint8)
        result = detector.score_batch(detector.variables, np.concatenate([batch, fill]))
        return result if maps else result._replace(map=None), len(batch)

    batches = (np.asarray(images[np.arange(i, min(i + size, len(images)))]) for i in range(0, len(images), size))
    for part in overlapped(begin, lambda begun: first_rows(*begun), batches):
        parts.append(part)
        advance(len(part.score))
    if not parts:
        none = np.zeros((0, detector.size, detector.size), np.float32)
        return Prediction(np.zeros(0, np.float32), none if maps else None)
    prediction = joined(parts)
    broken = np.flatnonzero(~np.isfinite(prediction.score))
    if broken.size:
        raise ValueError(f"score of image {broken[0]}: got {prediction.score[broken[0]]}, expected a finite number")
    return prediction


def first_rows(result: Prediction[jax.Array], n: int) -> Prediction[np.ndarray]:
    """Of a full batch, what was computed of its first n images, as NumPy arrays."""
    return each_array(result, lambda a: np.asarray(a)[:n])
