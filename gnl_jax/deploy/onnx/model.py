"""A detector's whole graph, from pixels to decision."""

import numpy as np

from gnl_jax.deploy.onnx.bank_scoring import memory_bank
from gnl_jax.deploy.onnx.decision import EXACT, Band, bounds, decide, p_value
from gnl_jax.deploy.onnx.graph import Graph
from gnl_jax.deploy.onnx.matching import SORTS
from gnl_jax.deploy.onnx.part_scoring import part_so_far
from gnl_jax.deploy.onnx.pixels import as_planes, hold_region, match_moments, normalise, resize
from gnl_jax.deploy.onnx.scoring import reverse_distillation
from gnl_jax.detection.detector import Detector
from gnl_jax.images.resize import Geometry
from gnl_jax.methods.bank_method import bank_options
from gnl_jax.methods.memory_bank import pixel_bounds
from gnl_jax.nn.teachers import teacher_record

TARGETS = tuple(SORTS)


def check_exportable(detector: Detector) -> None:
    """Raises ValueError, naming it, for what a graph cannot hold."""
    detector.require_record().require_rules()
    config = detector.require_record().config
    if detector.method is not None:
        raise ValueError(f"detector: got a method of its own, {detector.method.name!r}, expected a configuration's")
    if config.method.system not in ("reverse_distillation", "memory_bank"):
        able = "'reverse_distillation' or 'memory_bank'"
        raise ValueError(f"detector: got method.system {config.method.system!r}, expected {able}")
    if config.precision != "float32":
        raise ValueError(f"detector: got precision {config.precision!r}, expected 'float32': an ONNX graph computes so")


def make_graph(
    detector: Detector, *, band: Band = EXACT, input_size: tuple[int, int] | None = None, target: str = "onnxruntime"
) -> Graph:
    """The graph of a calibrated detector: images uint8 [batch h w 3] -> score, map, p-value, decision, reason, drift.

    With windows the images are windows of one part, all or some of them: see `part_so_far`. All outputs but the maps
    are the part's, [1], and "after" is what goes in as "before" with its next windows.

    Args:
        detector: a calibrated one.
        band: how near a threshold it answers REVIEW.
        input_size: (height, width) of the images it resizes itself, with windows that of its windows; None: it takes
            squares.
        target: a key of `SORTS`.
    """
    record, size, grid = detector.require_record(), detector.size, detector.grid
    config, g = record.config, Graph()
    how = record.manifest["image"]
    x = as_planes(g, g.input("images", "uint8", "batch", *(input_size or (size, size)), 3))
    if input_size is not None:
        geometry = Geometry(size, how["resize"], how["filter"])
        x = resize(g, x, geometry, height=input_size[0], width=input_size[1])
    region = detector.variables.get("region")
    if region is not None:
        x = hold_region(g, x, np.asarray(region))
    if (pixels := detector.variables.get("pixels")) is not None:
        x = match_moments(g, x, pixel_bounds(pixels))
    x = normalise(g, x, config.method.normalise)
    arch, matching, sort = config.teacher.arch, record.matching, SORTS[target]
    if config.method.system == "memory_bank":
        teacher = teacher_record(arch)
        bank = bank_options(config.method.memory_bank, teacher, size=size)
        scored = memory_bank(
            g, x, detector.variables, teacher=teacher, size=size, matching=matching, sort=sort, options=bank
        )
    else:
        scored = reverse_distillation(g, x, detector.variables, arch=arch, size=size, matching=matching, sort=sort)
    calibration = record.calibration
    count: str | int = "batch"
    if grid is not None:
        scored, after = part_so_far(g, scored)
        g.output(after, "after", "float32", 3)
        count = 1
    decision, reason = decide(g, scored.score, scored.drift, bounds(record, band))
    g.output(scored.score, "score", "float32", count)
    g.output(scored.map, "map", "float32", "batch", size, size)
    g.output(p_value(g, scored.score, calibration.score), "p_value", "float32", count)
    g.output(decision, "decision", "int32", count)
    g.output(reason, "reason", "int32", count)
    if scored.drift is not None:
        g.output(scored.drift, "drift", "float32", count)
        if len(calibration.drift):
            g.output(p_value(g, scored.drift, calibration.drift), "drift_p_value", "float32", count)
    return g
