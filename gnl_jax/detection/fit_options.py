"""What is asked of a detector: rates, groups, time; and the configuration it is made with if none is given."""

import dataclasses
from fractions import Fraction

import jax
from ml_collections import ConfigDict

from gnl_jax.config import default_config, set_method
from gnl_jax.detection.region import Region


@dataclasses.dataclass(frozen=True)
class FitOptions:
    """What is asked of a detector beside its configuration.

    Fields:
        ng, review: false-alarm rates at which good parts may be rejected and stopped for review; None for the
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
    """

    ng: Fraction | None = None
    review: Fraction | None = None
    drift: Fraction | None = None
    confidence: float | None = None
    calibration: int | None = None
    group_by: str = ""
    exclude: tuple[str, ...] = ()
    region: Region | None = None
    epochs: int = 0
    time_budget: float | None = None
    student: str = ""


DEFAULTS = FitOptions()


def inspection_config() -> ConfigDict:
    """GNL for good images of one product: 256x256, matched to the barycentre of all images it was fitted to.

    ResNet-18 on a CPU, Wide ResNet-50-2 elsewhere. On a CPU images are scored one at a time, which is as fast, so that
    a score never depends on how many are asked for.
    """
    config = default_config()
    on_cpu = jax.default_backend() == "cpu"
    config.dataset.name = "folder"
    config.dataset.normal = ""
    config.dataset.size = 256
    config.dataset.shifts = ()
    config.teacher.arch = "resnet18" if on_cpu else "wide_resnet50_2"
    config.train.feature_budget_mb = 2048.0  # clean and grey views never change: the teacher sees them once
    config.eval.anchor = "barycentre"  # no single image's style, and no image ships
    config.eval.batch_size = 1 if on_cpu else 16
    return set_method(config, "gnl", like="mvtec")
