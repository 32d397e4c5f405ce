"""A detector as one file, and back: the same scores to the last bit on the same device, checked by a probe on any."""

import copyreg
import dataclasses
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np

from gnl_jax.detection.container import ArtifactError, Container, pack, read_container, unpack, write_container
from gnl_jax.detection.detector import Detector, predict_squares, score_function
from gnl_jax.detection.forks import check_not_forked
from gnl_jax.detection.programs import Score, kept_score
from gnl_jax.detection.record import Calibration, Record
from gnl_jax.detection.trees import flatten, unflatten
from gnl_jax.methods.base import Method, Prediction

PyTree = Any
KIND = "detector"
PROBE_TOLERANCE = 1e-4  # relative; another device or XLA rounds differently
_PROBE_CELLS = 8  # patches along a side of the probe
_PROGRAM_FIELDS = ("method", "teacher", "eval", "precision", "seed")  # of a configuration, that shape a program


def save(detector: Detector, path: str | os.PathLike) -> None:
    """Writes a calibrated detector. Raises ValueError without a record, OSError naming the file."""
    write_container(path, _contained(detector))


def to_bytes(detector: Detector) -> bytes:
    """What `save` writes. Raises ValueError without a record."""
    return pack(*_contained(detector))


def from_bytes(data: bytes) -> Detector:
    """The detector of `to_bytes`, checked as by `load`."""
    return read_detector(unpack(data, name="pickled detector"), name="pickled detector")


# A detector holds a compiled function, which has no pickle: its file's content goes to the other process instead.
copyreg.pickle(Detector, lambda detector: (from_bytes, (to_bytes(detector),)))


def _contained(detector: Detector) -> Container:
    manifest = dict(detector.require_record().manifest) | {"kind": KIND}
    if "probe" not in manifest:  # as `use_matching` leaves it
        manifest["probe"] = probe(detector)
    return Container(manifest, _arrays(detector))


def load(
    path: str | os.PathLike,
    *,
    matching: str | None = None,
    verify: bool = True,
    method: Method | None = None,
    programs: str | os.PathLike | None = None,
) -> Detector:
    """Reads a detector that `save` wrote.

    Args:
        path: the file.
        matching: "none" for the same weights without matching and with thresholds of their own; None for the matching
            it was made with.
        verify: score the probe image that is stored with its score, and refuse another result on this device.
        method: the one that `fit` was given, if it was.
        programs: a folder of the user's own where the compiled program is kept on a CPU, so that the next process
            starts without compiling it; None keeps none. It must be trusted: what is in it is run.

    Raises:
        ArtifactError: a file that is damaged, of another kind, of a newer version, or that scores differently here.
        ValueError: a matching that it was not calibrated for.
    """
    container = read_container(path)
    name = os.fsdecode(path)
    return read_detector(container, name=name, matching=matching, verify=verify, method=method, programs=programs)


def read_detector(
    container: Container,
    *,
    name: str,
    matching: str | None = None,
    verify: bool = True,
    method: Method | None = None,
    programs: str | os.PathLike | None = None,
) -> Detector:
    """`load` for a file that was read already."""
    check_not_forked()
    manifest = container.manifest
    if manifest.get("kind") != KIND:
        raise ArtifactError(f"{name}: got kind {manifest.get('kind')!r}, expected {KIND!r}")
    try:
        tree = unflatten(container.arrays)
        calibrations = {kind: Calibration(**arrays) for kind, arrays in tree["calibration"].items()}
        extras = tree.get("matching", {})  # a matching without arrays of its own has no entry
        matchings = {kind: _extras(extras.get(kind, {})) for kind in calibrations}
        shared = {key: jax.tree.map(jax.device_put, tree[key]) for key in tree.keys() - {"calibration", "matching"}}
        record = Record(manifest, matchings, calibrations)
        made_by = manifest.get("method")  # absent where the configuration says it all
        if made_by != (method and method.name):
            needed = f"load(..., method=) of {made_by!r}" if made_by else "no method"
            raise ArtifactError(f"{name}: got {'no method' if method is None else method.name!r}, expected {needed}")
        detector = build_detector(shared, record, method=method, programs=programs)
    except (KeyError, TypeError) as error:
        raise ArtifactError(f"{name}: {error!r}; expected all that a detector needs") from error
    if verify:
        check_probe(detector, name=name)
    return detector if matching is None else use_matching(detector, matching)


def build_detector(
    shared: PyTree, record: Record, *, method: Method | None = None, programs: str | os.PathLike | None = None
) -> Detector:
    """A detector from the variables that all matchings share and a record; `method` and `programs` as for `load`."""
    config = record.config

    def make():
        # Networks and methods take longer to import than a kept program to load, which does without them.
        from gnl_jax.methods.build import build_method, matmul_precision

        built = method or build_method(config, matching=record.matching, frozen=shared.get("teacher"))
        return score_function(built, precision=matmul_precision(config))

    score: Score
    if method is not None or jax.default_backend() != "cpu":
        score = jax.jit(make())
    else:
        fields = config.to_dict()
        about = {name: fields[name] for name in _PROGRAM_FIELDS}
        about |= {"matching": record.matching, "size": config.dataset.size}
        score = kept_score(make, folder=None if programs is None else Path(programs), about=about)
    variables = {**shared, **record.matchings[record.matching]}
    return Detector(variables, score, config.dataset.size, record.manifest["batch_size"], record, method)


def shared_variables(detector: Detector) -> PyTree:
    """The variables that the detector's matchings share: its networks, and the region if there is one."""
    record = detector.require_record()
    return {k: v for k, v in detector.variables.items() if k not in record.matchings[record.matching]}


def use_matching(detector: Detector, matching: str) -> Detector:
    """The same weights with another matching, calibrated for it: thresholds of its own, the same rates."""
    record = detector.require_record()
    if matching not in record.matchings:
        raise ValueError(f"matching: got {matching!r}, expected one of {', '.join(sorted(record.matchings))}")
    if matching == record.matching:
        return detector
    manifest = {key: value for key, value in record.manifest.items() if key != "probe"}  # another score now
    changed = dataclasses.replace(record, manifest={**manifest, "matching": matching})
    return build_detector(shared_variables(detector), changed, method=detector.method)


def probe_image(size: int, *, seed: int = 0) -> np.ndarray:
    """A picture of coloured patches drawn from the seed, uint8 [1 size size 3], to compare devices with."""
    patches = np.random.default_rng(seed).integers(0, 256, (_PROBE_CELLS, _PROBE_CELLS, 3), np.uint8)
    cells = np.arange(size) * _PROBE_CELLS // size
    return patches[cells][:, cells][None]


def probe(detector: Detector, *, seed: int = 0) -> dict[str, Any]:
    """What the detector's networks say of the probe image, as the manifest holds it."""
    prediction = predict_squares(detector, probe_image(detector.size, seed=seed), maps=False)
    return {"seed": seed} | {name: float(value[0]) for name, value in _numbers(prediction).items()}


def check_probe(detector: Detector, *, name: str) -> dict[str, float]:
    """The largest relative differences of score and drift from those stored. Raises ArtifactError beyond 1e-4."""
    stored = detector.require_record().manifest["probe"]
    found = probe(detector, seed=stored["seed"])
    differences = {}
    for key in found.keys() - {"seed"}:
        differences[key] = abs(found[key] - stored[key]) / max(abs(stored[key]), 1e-12)
        if not differences[key] <= PROBE_TOLERANCE:
            raise ArtifactError(
                f"{name}: on this device the probe image has {key} {found[key]:.7g}, expected {stored[key]:.7g} "
                f"(within {PROBE_TOLERANCE:g}); its decisions here would differ from those it was calibrated for"
            )
    return differences


def _numbers(prediction: Prediction[np.ndarray]) -> dict[str, np.ndarray]:
    return {k: v for k, v in (("score", prediction.score), ("drift", prediction.drift)) if v is not None}


def _arrays(detector: Detector) -> dict[str, np.ndarray]:
    """All arrays by path. References are stored as scoring uses them: no path rounds them again."""
    record, tree = detector.require_record(), shared_variables(detector)
    tree["matching"] = {
        kind: {**extras, "references": dict(zip("12", extras["references"]))} if "references" in extras else extras
        for kind, extras in record.matchings.items()
    }
    tree["calibration"] = {kind: calibration._asdict() for kind, calibration in record.calibrations.items()}
    return {name: np.asarray(array) for name, array in flatten(tree).items()}


def _extras(arrays: Mapping[str, Any]) -> PyTree:
    extras = jax.tree.map(jax.device_put, dict(arrays))
    if "references" in extras:
        extras["references"] = (extras["references"]["1"], extras["references"]["2"])
    return extras
