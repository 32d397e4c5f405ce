"""What is requested of a detector beyond its configuration: rates, groups, region, time."""

import dataclasses
from fractions import Fraction

from gnl_jax.detection.region import Region
from gnl_jax.detection.threshold import parse_rate

IMAGE_PASSES = 3200  # by default: 20 epochs, the paper's, of 160 images; half an hour at 256x256 on two CPU cores


@dataclasses.dataclass(frozen=True)
class FitOptions:
    """What is requested of a detector beyond its configuration.

    A rate is a fraction of good parts: "1%", "0.01", 0.01 and Fraction(1, 100) are the same, and are held exactly.

    Attributes:
        ng, review: false-alarm rates at which good parts may be rejected and flagged for review; None for the
            defaults of `make_rules`.
        drift: rate at which drift alone may send a good part to review, on top of `review`; None: 1 % or 2 % where
            the calibration supports it, else never.
        confidence: None where the rates hold on average over calibrations; else with this probability for this one.
        calibration: number of parts that calibrate; None for `calibration_parts`.
        group_by, exclude: as for `good_images`.
        region: what is inspected (`make_region`); None for all.
        epochs: of training; 0 for about `IMAGE_PASSES` images in all.
        time_budget: minutes that training may take, after a measurement of its first steps; None for no limit.
        student: a checkpoint of the published code (`load_student`), which is taken instead of training.

    Raises:
        ValueError: a rate that cannot be read, or that is not between 0 and 1; its field is named.
    """

    ng: str | float | Fraction | None = None
    review: str | float | Fraction | None = None
    drift: str | float | Fraction | None = None
    confidence: float | None = None
    calibration: int | None = None
    group_by: str = ""
    exclude: tuple[str, ...] = ()
    region: Region | None = None
    epochs: int = 0
    time_budget: float | None = None
    student: str = ""

    def __post_init__(self):
        for name in ("ng", "review", "drift"):
            if (rate := getattr(self, name)) is not None:
                try:
                    object.__setattr__(self, name, parse_rate(rate))
                except ValueError as error:
                    raise ValueError(f"{name}: {error}") from error
