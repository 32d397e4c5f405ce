"""Visual anomaly detection that keeps working when the lighting, the camera or the style changes.

`gnl_jax.fit(images_or_folder)` makes a detector from good images, `gnl_jax.save` and `gnl_jax.load` write and read it.
Everything else is a pure function on arrays or a Flax module.
"""

import importlib
from typing import TYPE_CHECKING

from gnl_jax.version import __version__

if TYPE_CHECKING:
    from gnl_jax.detection.artifact import load, save
    from gnl_jax.detection.detector import Detector, predict
    from gnl_jax.detection.fit import fit
    from gnl_jax.detection.inspection import Inspected
    from gnl_jax.detection.options import FitOptions
    from gnl_jax.detection.record import Decision
    from gnl_jax.images.augmix import augmix
    from gnl_jax.methods.array_step import make_train_step
    from gnl_jax.methods.bank_method import bank_method
    from gnl_jax.methods.base import Method, Phase, Prediction
    from gnl_jax.methods.distillation import distillation_method
    from gnl_jax.methods.losses import LossWeights, Outputs, gnl_losses, reconstruction_loss, similarity_loss
    from gnl_jax.nn.decoder import Student
    from gnl_jax.nn.dinov2 import DinoV2
    from gnl_jax.nn.pretrained import load_teacher
    from gnl_jax.nn.resnet import ResNet
    from gnl_jax.ops.matching import efdm, mixstyle, sort_features
    from gnl_jax.ops.scoremap import image_score, score_map
    from gnl_jax.training.loop import train

# Where each public name lives.
_PUBLIC = {
    "Decision": "detection.record",
    "Detector": "detection.detector",
    "DinoV2": "nn.dinov2",
    "FitOptions": "detection.options",
    "Inspected": "detection.inspection",
    "LossWeights": "methods.losses",
    "Method": "methods.base",
    "Outputs": "methods.losses",
    "Phase": "methods.base",
    "Prediction": "methods.base",
    "ResNet": "nn.resnet",
    "Student": "nn.decoder",
    "augmix": "images.augmix",
    "bank_method": "methods.bank_method",
    "distillation_method": "methods.distillation",
    "efdm": "ops.matching",
    "fit": "detection.fit",
    "gnl_losses": "methods.losses",
    "image_score": "ops.scoremap",
    "load": "detection.artifact",
    "load_teacher": "nn.pretrained",
    "make_train_step": "methods.array_step",
    "mixstyle": "ops.matching",
    "predict": "detection.detector",
    "reconstruction_loss": "methods.losses",
    "save": "detection.artifact",
    "score_map": "ops.scoremap",
    "similarity_loss": "methods.losses",
    "sort_features": "ops.matching",
    "train": "training.loop",
}

__all__ = [
    "Decision",
    "Detector",
    "DinoV2",
    "FitOptions",
    "Inspected",
    "LossWeights",
    "Method",
    "Outputs",
    "Phase",
    "Prediction",
    "ResNet",
    "Student",
    "__version__",
    "augmix",
    "bank_method",
    "distillation_method",
    "efdm",
    "fit",
    "gnl_losses",
    "image_score",
    "load",
    "load_teacher",
    "make_train_step",
    "mixstyle",
    "predict",
    "reconstruction_loss",
    "save",
    "score_map",
    "similarity_loss",
    "sort_features",
    "train",
]


def __getattr__(name: str):
    """Loads JAX and the networks when they are first asked for, so that importing the package costs nothing."""
    if name in _PUBLIC:
        return getattr(importlib.import_module(f"gnl_jax.{_PUBLIC[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    """The public names, for completion."""
    return __all__
