"""What more images buy: the false-alarm rates that a number of good parts supports, as a table and a drawing."""

import math
from collections.abc import Iterator
from typing import Any, NamedTuple

from gnl_jax.detection.options import FitOptions
from gnl_jax.detection.parts import calibration_parts
from gnl_jax.detection.threshold import LEVEL, RateError, Rule, make_rules, parts_needed, rate_bound

FEWEST, MOST = 18, 4000  # parts of the drawing
STEPS = 160
WIDTH, HEIGHT, LEFT, BOTTOM = 640, 240, 44, 24
LOWEST, HIGHEST = 0.002, 0.5  # rates of the drawing
_TICKS = (0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5)


class Supported(NamedTuple):
    """What n good parts support: parts that calibrate, and the rules for REVIEW and NG (None: never)."""

    parts: int
    calibrating: int
    review: Rule
    ng: Rule | None


def supported(parts: int, options: FitOptions) -> Supported | None:
    """What `fit` would choose with this number of parts and the same options; None where it would refuse."""
    rates = options.rates
    asked = [rate for rate in rates if rate is not None]
    try:
        needed = max((parts_needed(rate, confidence=options.confidence) for rate in asked), default=0)
        count = calibration_parts(parts, wanted=options.calibration, needed=needed, confidence=options.confidence)
        rules, _ = make_rules(count, ng=rates.ng, review=rates.review, confidence=options.confidence)
    except RateError:
        return None
    return Supported(parts, count, rules.review, rules.ng)


def bound(rule: Rule) -> float:
    """The rate that this calibration does not exceed with 95 % confidence."""
    return rate_bound(rule.k, rule.n, LEVEL)


def table(now: int, options: FitOptions) -> list[Supported]:
    """Rows for the parts there are, and for two, five, ten and twenty times as many."""
    rows = (supported(times * now, options) for times in (1, 2, 5, 10, 20))
    return [row for row in rows if row is not None]


def drawing(now: int, options: FitOptions) -> dict[str, Any]:
    """Lines of an SVG over the number of good parts, both axes logarithmic: averages and bounds of REVIEW and of NG."""
    most = max(MOST, 20 * now)
    fewest = min(FEWEST, now)
    steps = sorted({round(fewest * (most / fewest) ** (i / STEPS)) for i in range(STEPS + 1)} | {now})
    found = [row for row in (supported(n, options) for n in steps) if row is not None]

    def x(parts: float) -> float:
        return round(LEFT + (WIDTH - LEFT - 8) * math.log(parts / fewest) / math.log(most / fewest), 1)

    def y(rate: float) -> float:
        share = math.log(min(max(rate, LOWEST), HIGHEST) / LOWEST) / math.log(HIGHEST / LOWEST)
        return round(8 + (HEIGHT - BOTTOM - 8) * (1 - share), 1)

    def path(rates: Iterator[tuple[int, float]]) -> str:
        points = [f"{x(parts)} {y(rate)}" for parts, rate in rates]
        return f"M{'L'.join(points)}" if points else ""

    rules = {"review": [(row.parts, row.review) for row in found], "ng": [(r.parts, r.ng) for r in found if r.ng]}
    return {
        "width": WIDTH,
        "height": HEIGHT,
        "left": LEFT,
        "bottom": HEIGHT - BOTTOM,
        "lines": {
            name: {
                "bound": path((parts, bound(rule)) for parts, rule in mine),
                "average": path((parts, rule.k / (rule.n + 1)) for parts, rule in mine),
            }
            for name, mine in rules.items()
        },
        "ticks": [(x(n), f"{n:,}") for n in (20, 50, 100, 200, 500, 1000, 2000, 5000) if fewest <= n <= most],
        "rates": [(y(rate), f"{100 * rate:g} %") for rate in _TICKS],
        "now": x(now),
        "parts": now,
    }
