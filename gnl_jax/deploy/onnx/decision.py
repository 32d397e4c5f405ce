"""From score and drift to p-values and a decision as nodes: thresholds and calibration are constants of the graph."""

from typing import NamedTuple

import numpy as np

from gnl_jax.deploy.onnx.graph import Graph
from gnl_jax.detection.record import Record

OK, REVIEW, NG = 0, 1, 2  # in the output "decision"
NO_REASON, BY_SCORE, BY_DRIFT = 0, 1, 2  # in the output "reason"


class Band(NamedTuple):
    """How near a threshold the graph answers REVIEW whatever the side, relative to that threshold."""

    score: float = 0.0
    drift: float = 0.0


EXACT = Band()


class Bounds(NamedTuple):
    """Where the graph is sure, float32.

    Attributes:
        ok: below this score a part is OK, as far as the score goes.
        ng: above this score it is NG; infinity where nothing is rejected.
        drift: below this drift it stays OK; infinity where drift decides nothing.
    """

    ok: np.float32
    ng: np.float32
    drift: np.float32


def bounds(record: Record, band: Band) -> Bounds:
    """The record's thresholds, moved outwards by the band."""
    ng, review = record.thresholds
    infinite, rule = np.float32(np.inf), record.drift_rule
    drift = infinite
    if rule is not None:
        threshold = rule.threshold(record.calibration.drift)
        drift = _below(threshold - band.drift * abs(threshold))
    lowest = min(t - band.score * abs(t) for t in (ng, review) if t is not None)
    highest = infinite if ng is None else -_below(-(ng + band.score * abs(ng)))
    return Bounds(_below(lowest), highest, drift)


def _below(x: float) -> np.float32:
    """The largest float32 that is not above x."""
    nearest = np.float32(x)
    return nearest if float(nearest) <= x else np.nextafter(nearest, np.float32(-np.inf))


def p_value(g: Graph, values: str, calibration: np.ndarray) -> str:
    """(1 + the number of calibration values at least as high) / (n + 1): [b], float32 [n] -> [b]."""
    column = g.add("Unsqueeze", values, g.ints(1))
    higher = g.add("Not", g.add("Less", g.constant(np.asarray(calibration)[None]), column))
    count = g.add("ReduceSum", g.add("Cast", higher, to="float32"), g.ints(1), keepdims=0)
    return g.add("Div", g.add("Add", count, 1.0), float(len(calibration) + 1))


def decide(g: Graph, score: str, drift: str | None, where: Bounds) -> tuple[str, str]:
    """Decision and reason, int32 [b] each: OK only what is below the bounds, NG only what is above, else REVIEW.

    A value that is no number is neither below nor above: REVIEW.
    """
    good = g.add("Less", score, where.ok)
    bad = g.add("Greater", score, where.ng)
    calm = good
    if drift is not None and np.isfinite(where.drift):
        calm = g.add("And", good, g.add("Less", drift, where.drift))

    def integer(value: int) -> str:
        return g.constant(value, np.int32)

    stopped = g.add("Where", bad, integer(NG), integer(REVIEW))
    decision = g.add("Where", calm, integer(OK), stopped)
    reason = g.add("Where", good, integer(BY_DRIFT), integer(BY_SCORE))
    return decision, g.add("Where", calm, integer(NO_REASON), reason)


def decided(score: np.ndarray, drift: np.ndarray | None, where: Bounds) -> tuple[np.ndarray, np.ndarray]:
    """`decide` in NumPy: decision and reason, int32 [b] each, of score and drift float32 [b]."""
    good, calm = score < where.ok, score < where.ok
    if drift is not None and np.isfinite(where.drift):
        calm = good & (drift < where.drift)
    decision = np.where(calm, OK, np.where(score > where.ng, NG, REVIEW))
    reason = np.where(calm, NO_REASON, np.where(good, BY_DRIFT, BY_SCORE))
    return decision.astype(np.int32), reason.astype(np.int32)
