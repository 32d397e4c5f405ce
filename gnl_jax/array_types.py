"""Types of arrays in signatures, as jaxtyping reads them: `Float[Array, "b h w c"]` is a dtype and named axes.

Axes of one name have one length in a call; `*b` is any number of axes, `_` an axis of any length. Only the tests check
them (`tests/signatures.py`).
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import jax
import numpy as np
from jaxtyping import Float, Real

# Functions take JAX's arrays and NumPy's; to a type checker the latter would lack methods such as `.at`.
if TYPE_CHECKING:
    Array = jax.Array
else:
    Array = jax.Array | np.ndarray

Scalar = float | np.number | Real[Array, ""]  # traced or not
Stages = Sequence[Float[Array, "b _ _ _"]]  # features [b h w c], each stage with its own grid and channels
