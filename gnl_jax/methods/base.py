"""What a method is: phases that train a state, and a pure function that scores images with what they leave."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, NamedTuple, TypeVar

import jax
import numpy as np
from jaxtyping import Float

from gnl_jax.array_types import Array
from gnl_jax.batches import ImageSource, ShapedSource

PyTree = Any
Kind = TypeVar("Kind", bound=jax.Array | np.ndarray)
Other = TypeVar("Other", bound=jax.Array | np.ndarray)


if TYPE_CHECKING:

    class Prediction(NamedTuple, Generic[Kind]):
        """Of JAX's arrays, as a method computes it, or of NumPy's, as a detector gives it."""

        score: Kind
        map: Kind | None = None
        drift: Kind | None = None

else:  # beartype, with which the tests check signatures, takes no generic named tuple

    class Prediction(NamedTuple):
        """The score of n images (higher is more anomalous), and their anomaly maps and drift, or None."""

        score: Float[Array, "n"]
        map: Float[Array, "n s s"] | None = None
        drift: Float[Array, "n"] | None = None


def each_array(prediction: Prediction[Kind], change: Callable[[Kind], Other]) -> Prediction[Other]:
    """The prediction with every array changed."""
    score, maps, drift = prediction
    return Prediction(change(score), None if maps is None else change(maps), None if drift is None else change(drift))


def joined(parts: Sequence[Prediction[np.ndarray]]) -> Prediction[np.ndarray]:
    """One prediction of the images of one or more, in their order; all of them have the same fields."""
    score, maps, drift = ([a for a in arrays if a is not None] for arrays in zip(*parts, strict=True))
    return Prediction(
        np.concatenate(score), np.concatenate(maps) if maps else None, np.concatenate(drift) if drift else None
    )


@dataclass(frozen=True)
class Phase:
    """One stretch of training with its own state.

    `init(key, previous, images) -> state`: arrays only; `previous` is the last phase's state. Both it and the training
    images may be None where only shapes are asked for (`jax.eval_shape`).
    `step(key, state, frozen, images, valid, features) -> (state, metrics)`: pure; images uint8 [b s s 3], valid
    bool [b]; its randomness is a function of (key, state.step); metrics are scalars, one of them "loss". A batch
    without a valid row is never given.
    `min_valid`: a last batch with fewer valid rows is skipped, because a BatchNorm would see one value.
    `precompute(frozen, images uint8 [b s s 3]) -> features, a pytree of [b ...]`: what does not change between epochs
    and may be computed once for each training image, or None. Where it was, `step` is given its rows, else None.
    """

    name: str
    epochs: int
    batch_size: int
    init: Callable[[Array, PyTree, ImageSource | None], PyTree]
    step: Callable[[Array, PyTree, PyTree, Array, Array, PyTree], tuple[PyTree, dict[str, Array]]]
    min_valid: int = 1
    precompute: Callable[[PyTree, Array], PyTree] | None = None


@dataclass(frozen=True)
class Method:
    """A detector's learning and scoring, as functions; without a phase there is nothing to train.

    `frozen` holds the arrays that training never changes: nested dicts of arrays by name, {} for none.

    `finish(frozen, state, images) -> variables`: what scoring needs, from the last phase's state (None without a phase)
    and the training images.
    `own`: names of those variables that each matching of a detector has for itself; the others are shared.
    `make_drift(variables, images uint8 [n s s 3]) -> tree`: the entry "drift" of the variables, which drift is measured
    against, from good images; None where the method measures none.
    `score_without(variables, images, parts int32 [b]) -> Prediction`: as if the images of a part had not been learned
    from, so that training images can be ranked; None where that would mean to learn anew.
    `add(variables, images) -> variables`: those of a matching that change when more good images are learned from;
    `drop(variables, gone bool [n]) -> variables`: when some of the n images are taken back. `shaped(variables)` names
    what the images of the fit gave as a whole, so that they cannot be taken back one by one. None where any of this
    would mean to learn anew.
    `score_batch(variables, images uint8 [b s s 3]) -> Prediction`: pure, each row independent of the others.
    `finish_bytes(n images, their side) -> bytes` that `finish` and scoring hold at their peak, from shapes alone; None
    where training takes more.
    """

    name: str
    frozen: PyTree
    phases: tuple[Phase, ...]
    finish: Callable[[PyTree, PyTree, ImageSource], PyTree]
    score_batch: Callable[[PyTree, Array], Prediction[Array]]
    own: tuple[str, ...] = ("references", "alpha")
    make_drift: Callable[[PyTree, ImageSource], PyTree] | None = None
    score_without: Callable[[PyTree, Array, Array], Prediction[Array]] | None = None
    add: Callable[[PyTree, ImageSource], PyTree] | None = None
    drop: Callable[[PyTree, np.ndarray], PyTree] | None = None
    shaped: Callable[[PyTree], tuple[str, ...]] | None = None
    finish_bytes: Callable[[int, int], int] | None = None


@dataclass(frozen=True)
class GroupedImages:
    """Images uint8 [n s s 3], or a source of them, with the part that each shows; a source of images itself."""

    images: ShapedSource
    parts: Sequence[Any]

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, indices: Any) -> np.ndarray:
        return self.images[indices]


def parts_of(images: ImageSource) -> np.ndarray:
    """The part that each image shows, [n]; where nothing says it, each shows one of its own."""
    return np.asarray(getattr(images, "parts", range(len(images))))
