"""AugMix as in the published GNL code: random chains of Pillow operations, mixed with the image."""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Float32, Int32, Key, UInt8

from gnl_jax.array_types import Array
from gnl_jax.images import affine, pillow

MVTEC_OPERATIONS = ("autocontrast", "equalize", "posterize", "solarize", "color", "sharpness")
PACS_OPERATIONS = (*MVTEC_OPERATIONS, "contrast", "brightness")
GEOMETRIC_OPERATIONS = affine.OPERATIONS

_MAX_DEPTH = 3
_Image = UInt8[Array, "h w 3"]
_SIGN_STREAM = 2  # the two keys of a split are the streams 0 and 1


class AugMixOptions(NamedTuple):
    """The options of `augmix`; the defaults are those of the published GNL training on MVTec AD."""

    operations: tuple[str, ...] = MVTEC_OPERATIONS
    severity: float | str = "published"
    width: int = 3
    depth: int | None = None
    alpha: float = 1.0
    sticky_depth: bool = True
    geometric: bool = False

    @property
    def all_operations(self) -> tuple[str, ...]:
        """The names an operation is drawn from."""
        return (*self.operations, *(GEOMETRIC_OPERATIONS if self.geometric else ()))


class Displacement(NamedTuple):
    """What the geometric operations move an image by; either sign is as likely."""

    degrees: Int32[Array, "width steps"]  # of rotate
    slope: Float32[Array, "width steps"]  # of shear_x and shear_y
    shift: Float32[Array, "width steps"]  # of translate_x and translate_y: this fraction of the image's side


class AugMixSample(NamedTuple):
    """Everything that is random in the augmentation of one image; steps = the greatest depth."""

    operation: Int32[Array, "width steps"]  # index into `AugMixOptions.all_operations`
    bits: Int32[Array, "width steps"]  # of posterize
    threshold: Int32[Array, "width steps"]  # of solarize
    factor: Float32[Array, "width steps"]  # of color, contrast, brightness and sharpness
    depth: Int32[Array, "width"]  # steps of the chain that count
    weights: Float32[Array, "width"]  # of the chains; they sum to one
    mix: Float32[Array, ""]  # weight of the mixed chains against the image
    geometry: Displacement | None  # None without geometric operations


class _Step(NamedTuple):
    image: _Image
    bits: Int32[Array, ""]
    threshold: Int32[Array, ""]
    factor: Float32[Array, ""]
    which: Int32[Array, ""] | None  # index into GEOMETRIC_OPERATIONS where the operation is one of them
    amount: Float32[Array, ""] | None  # what `affine.move` is given then


def _identity(step):
    return jnp.arange(256, dtype=jnp.uint8)


# Every photometric operation is one lookup and one blend: name -> (its table, uint8 [256] or [256 3];
# the image to blend with, or None for a plain lookup). A geometric one is a partner that replaces the image.
_PHOTOMETRIC: dict[str, tuple[Callable, Callable | None]] = {
    "autocontrast": (lambda step: pillow.autocontrast_table(pillow.histogram(step.image)), None),
    "equalize": (lambda step: pillow.equalize_table(pillow.histogram(step.image)), None),
    "posterize": (lambda step: pillow.posterize_table(step.bits), None),
    "solarize": (lambda step: pillow.solarize_table(step.threshold), None),
    "color": (_identity, lambda step: pillow.greyscale(step.image)),
    "sharpness": (_identity, lambda step: pillow.smooth(step.image)),
    "contrast": (lambda step: pillow.contrast_table(pillow.mean_luma(step.image), step.factor), None),
    "brightness": (lambda step: pillow.brightness_table(step.factor), None),
}


def _moved(step):
    return affine.move(step.image, step.which, step.amount)


_OPERATIONS = _PHOTOMETRIC | dict.fromkeys(GEOMETRIC_OPERATIONS, (_identity, _moved))


def augmix(key: Key[Array, ""], images: UInt8[Array, "b h w 3"], **options: Any) -> Float32[Array, "b h w 3"]:
    """Augment each image of a batch by AugMix (Hendrycks et al. 2020, as in the published GNL code).

    In [0, 255] (to rounding), not normalised: mixing is affine with weights that sum to one, so normalising afterwards
    equals the published order. Image i is a function of `fold_in(key, i)` alone. `options`: those of `AugMixOptions`.

    - operations: names to draw from, uniformly and with replacement.
    - severity: upper end of the level's range [0.1, severity), at most 10; "published" draws it from {0, 1, 2, 3} for
      each image. Lower is stronger for color, contrast, brightness, sharpness.
    - width, depth: number of chains, and of operations in a chain; a depth of None is drawn from {1, 2, 3}.
    - alpha: parameter of the Dirichlet (chain weights) and Beta (mixing weight) distributions.
    - sticky_depth: whether all chains have the depth drawn for the first.
    - geometric: draw from `GEOMETRIC_OPERATIONS` too (rotate, shear, translate): 13 operations with the eight for PACS
      and 11 with the six for MVTec AD, as the Augmix baseline has them.

    Raises ValueError for an option out of range or images of another shape or type.
    """
    return augmix_each(jax.vmap(lambda i: jax.random.fold_in(key, i))(jnp.arange(len(images))), images, **options)


def augmix_each(keys: Key[Array, "b"], images: UInt8[Array, "b h w 3"], **options: Any) -> Float32[Array, "b h w 3"]:
    """`augmix` with a key for each image."""
    chosen = AugMixOptions(**options)
    if images.dtype != jnp.uint8 or images.ndim != 4 or images.shape[-1] != 3:
        raise ValueError(f"images: expected uint8 [b h w 3], got {images.dtype} {list(images.shape)}")

    samples = jax.vmap(lambda key: sample_augmix(key, **chosen._asdict()))(keys)

    def form(over):
        return over(partial(apply_augmix, operations=chosen.all_operations, over=over))

    # Vectorised, every operation is computed for every chain and all but one discarded. One chain at a time
    # computes only what it needs: on CPU 3 to 5 times faster. An accelerator would mostly wait for small kernels.
    return jax.lax.platform_dependent(samples, images, cpu=form(_one_by_one), default=form(jax.vmap))


def _one_by_one(function):
    return lambda *arguments: jax.lax.map(lambda each: function(*each), arguments)


def sample_augmix(key: Key[Array, ""], **given: Any) -> AugMixSample:
    """Draw the parameters for one image; `given` as for `augmix`."""
    options = AugMixOptions(**given)
    _check(options)
    steps = options.depth or _MAX_DEPTH
    uniform_key, gamma_key = jax.random.split(key)
    # One block of uniform numbers, cut up below: a separate draw for each would triple the time to compile.
    uniform = jax.random.uniform(uniform_key, (options.width, 2 + 2 * steps), jnp.float32)
    # Paper: AugMix with its fixed severity. Published code: an integer from 0 to 3, drawn for each image.
    drawn = jnp.floor(4 * uniform[0, 0])
    severity = drawn if isinstance(options.severity, str) else options.severity
    depth = jnp.full(options.width, steps)
    if options.depth is None:
        # Paper: each chain has its own depth (as in AugMix). Published code: the depth drawn for the first
        # chain overwrites the option, and all later chains use it.
        draws = uniform[:1, 1] if options.sticky_depth else uniform[:, 1]
        depth = jnp.broadcast_to(1 + jnp.floor(_MAX_DEPTH * draws), (options.width,))
    # With severity 0 the range is reversed, (0, 0.1], as NumPy's uniform(0.1, 0) gives it.
    level = 0.1 + (severity - 0.1) * uniform[:, 2 : 2 + steps]
    log_gamma = _log_gamma(gamma_key, options.alpha, (options.width + 2,))
    return AugMixSample(
        operation=(len(options.all_operations) * uniform[:, 2 + steps :]).astype(jnp.int32),
        bits=4 - (0.4 * level).astype(jnp.int32),
        threshold=256 - (25.6 * level).astype(jnp.int32),
        factor=0.18 * level + 0.1,
        depth=depth.astype(jnp.int32),
        # Normalised Gamma variables are Dirichlet, and two of them Beta, distributed.
        weights=jax.nn.softmax(log_gamma[:-2]),
        mix=jax.nn.softmax(log_gamma[-2:])[0],
        geometry=_sample_geometry(key, level) if options.geometric else None,
    )


def _sample_geometry(key, level):
    """Draw the signs from a stream of their own, so that everything else is what it is without geometry."""
    sign = jax.random.rademacher(jax.random.fold_in(key, _SIGN_STREAM), level.shape, jnp.int32)
    # AugMix translates by int(level * (side / 3) / 10) pixels; the side is known when that is done.
    return Displacement(sign * (3 * level).astype(jnp.int32), sign * (0.03 * level), sign * (level / 30))


def _log_gamma(key, alpha, shape):
    if alpha == 1:  # an exponential variable, whose logarithm needs no rejection loop
        return -jax.random.gumbel(key, shape, jnp.float32)
    return jax.random.loggamma(key, alpha, shape, jnp.float32)


def apply_augmix(sample: AugMixSample, image: _Image, *, operations, over=jax.vmap) -> Float32[Array, "h w 3"]:
    """Augment one image with drawn parameters; the result is in [0, 255] (to rounding).

    `over` maps a function over the chains: `jax.vmap` or an equivalent.
    """
    chains = augmix_chains(sample, image, operations=operations, over=over).astype(jnp.float32)
    mixed = jnp.sum(sample.weights[:, None, None, None] * chains, axis=0)
    return (1 - sample.mix) * image.astype(jnp.float32) + sample.mix * mixed


def augmix_chains(sample: AugMixSample, image: _Image, *, operations, over=jax.vmap) -> UInt8[Array, "width h w 3"]:
    """The ends of the chains before mixing, bit for bit as Pillow computes them."""
    parameters = (sample.bits, sample.threshold, sample.factor, *_moves(sample, operations, image.shape))

    def chain(operation, parameters, depth):
        def step(i, x):
            return _operate(operation[i], _Step(x, *jax.tree.map(lambda each: each[i], parameters)), operations)

        return jax.lax.fori_loop(0, depth, step, image)

    return over(chain)(sample.operation, parameters, sample.depth)


def _moves(sample, operations, shape):
    """`which` and `amount` of each step, [width steps]; both None for a sample without geometry."""
    if sample.geometry is None:
        if set(operations) & set(GEOMETRIC_OPERATIONS):
            raise ValueError(f"sample: got one drawn with geometric=False, expected True for {operations!r}")
        return None, None
    height, width, _ = shape
    degrees, slope, shift = sample.geometry
    places = [GEOMETRIC_OPERATIONS.index(name) if name in GEOMETRIC_OPERATIONS else 0 for name in operations]
    which = jnp.asarray(places)[sample.operation]
    pixels_x, pixels_y = jnp.trunc(shift * width), jnp.trunc(shift * height)
    return which, jnp.choose(which, [degrees.astype(jnp.float32), slope, slope, pixels_x, pixels_y], mode="clip")


def _operate(operation, step, operations):
    """Apply the operation chosen at run time: choose its table and its partner, gather once, blend once."""
    tables, partners = zip(*(_OPERATIONS[name] for name in operations), strict=True)

    def table(make):
        return lambda step: jnp.broadcast_to(make(step).reshape(256, -1), (256, 3))

    looked_up = pillow.lookup(step.image, jax.lax.switch(operation, [table(make) for make in tables], step))
    if not any(partners):
        return looked_up
    # One branch for each partner there is, not for each operation: all geometric ones are one warp.
    kinds = list(dict.fromkeys(partners))
    kind = jnp.asarray([kinds.index(make) for make in partners])[operation]
    degenerate = jax.lax.switch(kind, [make or (lambda step: step.image) for make in kinds], step)
    # Without a partner the blend is the identity, image + 1 (looked_up - image); a warp's partner is the result.
    fixed = {None: 1.0, _moved: 0.0}
    factors = jnp.stack([jnp.asarray(fixed.get(make, step.factor), jnp.float32) for make in kinds])
    return pillow.blend(degenerate, looked_up, factors[kind])


def _check(options):
    unknown = [name for name in options.operations if name not in _PHOTOMETRIC]
    if unknown or not options.operations:
        raise ValueError(f"operations: expected names from {sorted(_PHOTOMETRIC)}, got {options.operations!r}")
    severity = options.severity
    if severity != "published" and (isinstance(severity, str) or not 0 <= severity <= 10):
        raise ValueError(f'severity: expected "published" or a number in [0, 10], got {severity!r}')
    if options.width < 1:
        raise ValueError(f"width: expected at least 1, got {options.width!r}")
    if options.depth is not None and options.depth < 1:
        raise ValueError(f"depth: expected None or at least 1, got {options.depth!r}")
    if not options.alpha > 0:
        raise ValueError(f"alpha: expected a positive number, got {options.alpha!r}")
