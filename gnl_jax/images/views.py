"""Views of an image: what the network sees of it in training, normalised."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, Float32, Key, Real, UInt8

from gnl_jax.array_types import Array
from gnl_jax.images.augmix import AugMixOptions
from gnl_jax.images.augmix import augmix as augment

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)

_GREY_WEIGHTS = (0.2989, 0.587, 0.114)  # torchvision's Grayscale on tensors; they sum to 0.9999


def _unit(images):
    return jnp.asarray(images, jnp.float32) / 255


def _imagenet(images):
    shape = (1,) * (images.ndim - 1) + (3,)
    mean, std = (np.array(moment, np.float32).reshape(shape) for moment in (IMAGENET_MEAN, IMAGENET_STD))
    return (_unit(images) - mean) / std


NORMALISERS = {"imagenet": _imagenet, "none": _unit}


def normalise(images: Real[Array, "*b h w 3"], kind: str) -> Float32[Array, "*b h w 3"]:
    """Scale images as torchvision does: to [0, 1] (`kind` "none"), then by ImageNet's moments ("imagenet").

    `images` are in [0, 255]. Raises ValueError for another kind.
    """
    return _chosen(NORMALISERS, kind, "normalise")(images)


def grey(normalised: Float[Array, "*b h w 3"]) -> Float[Array, "*b h w 3"]:
    """Grey version of normalised images, with three equal channels.

    Published code: the weights (which sum to 0.9999) are applied after the normalisation, so this is not the
    normalisation of a grey image. Paper: no such view.
    """
    r, g, b = (weight * normalised[..., i : i + 1] for i, weight in enumerate(_GREY_WEIGHTS))
    return jnp.broadcast_to(r + g + b, normalised.shape)


def _clean_view(key, images, normalise, augmix):
    return normalise(images)


def _augmix_view(key, images, normalise, augmix):
    return normalise(augment(key, images, **augmix._asdict()))


def _grey_view(key, images, normalise, augmix):
    return grey(normalise(images))


_PUBLISHED = AugMixOptions()
VIEWS = {"clean": _clean_view, "augmix": _augmix_view, "grey": _grey_view}
FIXED_VIEWS = ("clean", "grey")  # the same in every epoch


def make_views(
    key: Key[Array, ""],
    images: UInt8[Array, "b h w 3"],
    *,
    views: Sequence[str] = ("clean", "augmix", "grey"),
    normalise: str = "imagenet",
    augmix: AugMixOptions = _PUBLISHED,
    positions: Sequence[int] | None = None,
) -> Float32[Array, "v b h w 3"]:
    """Make the views of a batch, in the order of `views`: "clean", "augmix", "grey", each as often as wanted.

    They are normalised as `normalise` ("imagenet" or "none") says. `augmix` holds the options of the "augmix" views;
    each occurrence is an independent draw. `positions`: make these of `views` alone, at least one, each as it is among
    all. Raises ValueError for an unknown view or normalisation.
    """
    functions = [_chosen(VIEWS, view, "views") for view in views]
    scale = _chosen(NORMALISERS, normalise, "normalise")
    chosen = range(len(views)) if positions is None else positions
    return jnp.stack([functions[i](jax.random.fold_in(key, i), images, scale, augmix) for i in chosen])


def _chosen(table, name, argument):
    if name not in table:
        raise ValueError(f"{argument}: expected one of {list(table)}, got {name!r}")
    return table[name]
