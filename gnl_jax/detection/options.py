"""What is requested of a detector: rates, groups, region, time; and the configuration it has if none is given."""

import dataclasses
from fractions import Fraction
from typing import NamedTuple

import jax
from ml_collections import ConfigDict

from gnl_jax.config import default_config, set_method
from gnl_jax.detection.region import Region
from gnl_jax.detection.threshold import parse_rate
from gnl_jax.detection.windows import Windows

DEFAULT_METHOD = "matched_bank"


class Rates(NamedTuple):
    """The false-alarm rates of `FitOptions`, exact; None where none is requested."""

    ng: Fraction | None
    review: Fraction | None
    drift: Fraction | None


@dataclasses.dataclass(frozen=True)
class FitOptions:
    """What is requested of a detector beyond its configuration.

    A rate is a fraction of good parts: "1%", "0.01", 0.01 and Fraction(1, 100) are the same, and are held exactly.

    >>> FitOptions(ng="1%", review=0.05).review
    Fraction(1, 20)

    Attributes:
        ng, review: false-alarm rates at which good parts may be rejected and flagged for review; None for the
            defaults of `make_rules`.
        drift: rate at which drift alone may send a good part to review, on top of `review`; None: 1 % or 2 % where
            the calibration supports it, else never.
        confidence: None where the rates hold on average over calibrations; else with this probability for this one.
        calibration: number of parts that calibrate; None for `calibration_parts`.
        group_by, exclude: as for `good_images`.
        region: what is inspected (`place_region`); None for all.
        windows: inspect each image in so many overlapping windows along each of its sides; 0 for the whole image.
        window_size: the same with square windows of so many pixels of the image; 0 for none.
        overlap: pixels of the image that neighbouring windows share, at least; None for an eighth of a window.
        epochs: of training; 0 for about 3,200 images in all (`fit_training.IMAGE_PASSES`).
        time_budget: minutes that training may take, after a measurement of its first steps; None for no limit.
        batch_size: images that train at once, or pass the teacher for a memory bank, at most; None for what fits.
        memory: GB (10^9 bytes) that the fit may take; None for what is free.
        student: a checkpoint of the published code (`load_student`), which is taken instead of training.

    Raises:
        ValueError: a rate that cannot be read, or that is not between 0 and 1, windows without a meaning, a batch size
            or a memory that is not positive; the field is named.
    """

    ng: str | float | Fraction | None = None
    review: str | float | Fraction | None = None
    drift: str | float | Fraction | None = None
    confidence: float | None = None
    calibration: int | None = None
    group_by: str = ""
    exclude: tuple[str, ...] = ()
    region: Region | None = None
    windows: int = 0
    window_size: int = 0
    overlap: int | None = None
    epochs: int = 0
    time_budget: float | None = None
    batch_size: int | None = None
    memory: float | None = None
    student: str = ""

    def __post_init__(self):
        if self.batch_size is not None and self.batch_size < 1:
            raise ValueError(f"batch_size: got {self.batch_size}, expected 1 or more")
        if self.memory is not None and not self.memory > 0:
            raise ValueError(f"memory: got {self.memory}, expected more than 0 GB")
        for name in ("ng", "review", "drift"):
            if (rate := getattr(self, name)) is not None:
                try:
                    object.__setattr__(self, name, parse_rate(rate))
                except ValueError as error:
                    raise ValueError(f"{name}: {error}") from error
        if self.requested_windows is not None:
            self.requested_windows.check()
        elif self.overlap is not None:
            raise ValueError(f"overlap: got {self.overlap} without windows, expected windows or window_size as well")

    @property
    def rates(self) -> Rates:
        """The rates as they are held."""
        return Rates(*(None if rate is None else parse_rate(rate) for rate in (self.ng, self.review, self.drift)))

    @property
    def requested_windows(self) -> Windows | None:
        """The windows that images are inspected in; None for whole images."""
        return Windows(self.windows, self.window_size, self.overlap) if self.windows or self.window_size else None


def inspection_config() -> ConfigDict:
    """A matched memory bank for good images of one product: 256x256, matched to the barycentre of the images it holds.

    On a CPU images are scored one at a time, which is as fast, so that
    a score never depends on how many are asked for.
    """
    config = default_config()
    on_cpu = jax.default_backend() == "cpu"
    config.dataset.name = "folder"
    config.dataset.normal = ""
    config.dataset.size = 256
    config.dataset.shifts = ()
    config.teacher.arch = "resnet18"  # its weights are in the package
    config.train.feature_budget_mb = 2048.0  # clean and grey views never change: the teacher sees them once
    config.eval.anchor = "barycentre"  # no single image's style, and no image ships
    config.eval.batch_size = 1 if on_cpu else 16
    return set_method(config, DEFAULT_METHOD, like="mvtec")
