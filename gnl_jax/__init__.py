"""Visual anomaly detection that keeps working when the lighting, the camera or the style changes.

`gnl_jax.fit(images_or_folder)` makes a detector from good images, `gnl_jax.load(path)` reads one.
"""

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gnl_jax.detection.artifact import load
    from gnl_jax.detection.fit import fit

__version__ = "0.1.0"
__all__ = ["fit", "load"]

_PUBLIC = {"fit": "gnl_jax.detection.fit", "load": "gnl_jax.detection.artifact"}


def __getattr__(name: str):
    """Loads JAX and the networks when they are first asked for, so that importing the package costs nothing."""
    if name in _PUBLIC:
        return getattr(importlib.import_module(_PUBLIC[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
