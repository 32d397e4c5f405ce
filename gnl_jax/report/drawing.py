"""A condition's scores as a drawing: paths, ticks and threshold marks of an SVG."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

WIDTH, MIDDLE, HEIGHT = 420, 104, 64  # of the histogram: what a phone shows at a legible size


def histogram(counts: Mapping[str, Any], thresholds: Mapping[str, Any]) -> dict[str, Any]:
    """Good parts upwards and defects downwards, as densities on one scale: paths, ticks and threshold marks."""
    edges, good, bad = (counts[name] for name in ("edges", "good", "bad"))
    marks = {name: thresholds[name] for name in ("review", "ng") if thresholds[name] is not None}
    low, high = min(edges[0], *marks.values()), max(edges[-1], *marks.values())

    def across(score: float) -> float:
        return round(6 + (WIDTH - 12) * (score - low) / (high - low), 1)

    densities = [_density(held, edges) for held in (good, bad)]
    most = max(*densities[0], *densities[1]) or 1.0
    paths = []
    for density, way in zip(densities, (-1, 1)):
        steps = [f"V{MIDDLE + way * HEIGHT * d / most:.1f}H{across(b)}" for d, b in zip(density, edges[1:])]
        paths.append(f"M{across(edges[0])} {MIDDLE}{''.join(steps)}V{MIDDLE}Z")
    return {
        "good": paths[0],
        "bad": paths[1],
        "ticks": [(across(t), number(t)) for t in _ticks(low, high)],
        "marks": [(name, across(t), number(t)) for name, t in marks.items()],
    }


def _density(counts: Sequence[int], edges: Sequence[float]) -> list[float]:
    total = sum(counts) or 1
    return [n / total / (b - a) for n, a, b in zip(counts, edges, edges[1:])]


def _ticks(low: float, high: float) -> list[float]:
    """Three to eight round numbers from low to high."""
    power = 10.0 ** math.floor(math.log10(high - low))
    step = next(s for s in (power / 5, power / 2, power, power * 2) if (high - low) / s <= 7)
    return [i * step for i in range(math.ceil(low / step), math.floor(high / step) + 1)]


def number(value: float) -> str:
    """Four significant digits, with a minus sign."""
    return f"{value:.4g}".replace("-", "−")
