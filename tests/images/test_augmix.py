"""AugMix against a Pillow replay of the same drawn parameters, and its distributions."""

from functools import cache, partial

import jax
import numpy as np
import pytest
import signatures
from jax import jit
from PIL import Image, ImageEnhance, ImageOps
from scipy import stats

from gnl_jax.images.augmix import (
    MVTEC_OPERATIONS,
    PACS_OPERATIONS,
    AugMixOptions,
    _one_by_one,
    apply_augmix,
    augmix,
    augmix_chains,
    sample_augmix,
)

BILINEAR = Image.Resampling.BILINEAR


def transform(image, *matrix):
    return image.transform(image.size, Image.Transform.AFFINE, matrix, BILINEAR)


def pixels(step, side):
    return int(step.geometry.shift * np.float32(side))


# name -> (the image, what was drawn for one step) -> the image that Pillow makes of it
PILLOW = {
    "autocontrast": lambda image, step: ImageOps.autocontrast(image),
    "equalize": lambda image, step: ImageOps.equalize(image),
    "posterize": lambda image, step: ImageOps.posterize(image, int(step.bits)),
    "solarize": lambda image, step: ImageOps.solarize(image, int(step.threshold)),
    "color": lambda image, step: ImageEnhance.Color(image).enhance(float(step.factor)),
    "sharpness": lambda image, step: ImageEnhance.Sharpness(image).enhance(float(step.factor)),
    "contrast": lambda image, step: ImageEnhance.Contrast(image).enhance(float(step.factor)),
    "brightness": lambda image, step: ImageEnhance.Brightness(image).enhance(float(step.factor)),
    "rotate": lambda image, step: image.rotate(int(step.geometry.degrees), BILINEAR),
    "shear_x": lambda image, step: transform(image, 1, float(step.geometry.slope), 0, 0, 1, 0),
    "shear_y": lambda image, step: transform(image, 1, 0, 0, float(step.geometry.slope), 1, 0),
    "translate_x": lambda image, step: transform(image, 1, 0, pixels(step, image.width), 0, 1, 0),
    "translate_y": lambda image, step: transform(image, 1, 0, 0, 0, 1, pixels(step, image.height)),
}


def photographs(n, size=24, seed=0):
    """Smooth random images of different brightness and contrast, some of them narrow or constant."""
    rng = np.random.default_rng(seed)
    coarse = rng.normal(size=(n, 6, 6, 3)).repeat(size // 6, axis=1).repeat(size // 6, axis=2)
    fine = coarse + 0.2 * rng.normal(size=(n, size, size, 3))
    images = rng.uniform(0, 255, (n, 1, 1, 3)) + rng.choice([0, 1, 20, 80], (n, 1, 1, 1)) * fine
    return images.clip(0, 255).astype(np.uint8)


def replay(sample, image, operations):
    """The chains by Pillow, then the published mixture in float64."""
    chains = []
    for chain in range(len(sample.depth)):
        out = Image.fromarray(image)
        for i in range(sample.depth[chain]):
            per_step = sample._replace(depth=None, weights=None, mix=None)
            step = jax.tree.map(lambda leaf, i=i: leaf[chain, i], per_step)  # noqa: B023
            out = PILLOW[operations[step.operation]](out, step)
        chains.append(np.asarray(out))
    chains = np.stack(chains)
    mixed = np.tensordot(sample.weights.astype(np.float64), chains, axes=1)
    return chains, (1 - sample.mix) * image.astype(np.float64) + sample.mix * mixed


@cache
def draw(n, **options):
    keys = jax.random.split(jax.random.key(0), n)
    return jax.tree.map(np.asarray, jit(jax.vmap(lambda key: sample_augmix(key, **options)))(keys))


@pytest.mark.parametrize(
    "over", [pytest.param(jax.vmap, marks=pytest.mark.slow), _one_by_one], ids=["vectorised", "one by one"]
)
def test_equals_pillow(over):
    """All 13 operations, at the greatest severity there is."""
    drawn = {"operations": PACS_OPERATIONS, "geometric": True, "severity": 10, "sticky_depth": False}
    names = AugMixOptions(**drawn).all_operations
    options = {"operations": names, "over": over}

    def both(sample, image):
        return augmix_chains(sample, image, **options), apply_augmix(sample, image, **options)

    images = photographs(120)
    samples = draw(120, **drawn)
    assert len(np.unique(samples.operation)) == len(PILLOW) == 13
    chains, mixed = jax.jit(over(both))(samples, images)
    for i, image in enumerate(images):
        sample = jax.tree.map(lambda leaf, i=i: leaf[i], samples)
        expected_chains, expected = replay(sample, image, names)
        np.testing.assert_array_equal(np.asarray(chains[i]), expected_chains)
        np.testing.assert_allclose(np.asarray(mixed[i]), expected, atol=1e-4)


@pytest.mark.slow
def test_batch_is_the_replay_of_each_position():
    images, key = photographs(5), jax.random.key(3)
    jitted = jax.jit(augmix)
    got = np.asarray(jitted(key, images))
    assert got.dtype == np.float32
    sample_at = jax.jit(lambda i: sample_augmix(jax.random.fold_in(key, i)))
    for i, image in enumerate(images):
        sample = jax.tree.map(np.asarray, sample_at(i))
        np.testing.assert_allclose(got[i], replay(sample, image, MVTEC_OPERATIONS)[1], atol=1e-4)
    others = np.concatenate([images[:2], photographs(3, seed=1)])
    np.testing.assert_array_equal(np.asarray(jitted(key, others))[:2], got[:2])


def test_normalising_after_mixing_is_the_published_order():
    image = photographs(1)[0]
    sample = jax.tree.map(lambda leaf: leaf[0], draw(4000))
    mean, std = np.float32([0.485, 0.456, 0.406]), np.float32([0.229, 0.224, 0.225])
    normalise = lambda x: (x.astype(np.float32) / np.float32(255) - mean) / std  # noqa: E731
    chains, _ = replay(sample, image, MVTEC_OPERATIONS)
    mixed = sum(weight * normalise(chain) for weight, chain in zip(sample.weights, chains, strict=True))
    published = (1 - sample.mix) * normalise(image) + sample.mix * mixed
    apply = jit(partial(apply_augmix, operations=MVTEC_OPERATIONS))
    ours = normalise(np.asarray(apply(sample, image)))
    np.testing.assert_allclose(ours, published, atol=1e-5)


def test_published_distributions():
    """Ranges and frequencies of the parameters with severity drawn from {0, 1, 2, 3}."""
    n = 20_000
    samples = draw(n, operations=PACS_OPERATIONS)
    assert set(np.unique(samples.bits)) == {3, 4}
    # 3 bits need severity 3 (a quarter of the images) and a level of at least 2.5 in [0.1, 3].
    np.testing.assert_allclose(np.mean(samples.bits == 3), 0.25 * 0.5 / 2.9, atol=0.004)
    assert samples.threshold.min() == 180
    assert samples.threshold.max() == 256
    np.testing.assert_allclose(np.mean(samples.threshold == 256), 0.10, atol=0.005)
    assert 0.1 < samples.factor.min() < 0.101
    assert 0.63 < samples.factor.max() <= 0.64
    np.testing.assert_allclose(np.median(samples.factor), 0.21, atol=0.005)
    frequencies = np.bincount(samples.operation.ravel(), minlength=8) / samples.operation.size
    np.testing.assert_allclose(frequencies, 1 / 8, atol=0.004)
    np.testing.assert_allclose(np.bincount(samples.depth[:, 0])[1:] / n, 1 / 3, atol=0.015)
    np.testing.assert_allclose(samples.weights.sum(axis=1), 1, atol=1e-6)
    # A component of Dirichlet(1, 1, 1) is Beta(1, 2) distributed; Beta(1, 1) is uniform.
    assert stats.kstest(samples.weights[:, 1], stats.beta(1, 2).cdf).pvalue > 1e-3
    assert stats.kstest(samples.mix, stats.uniform.cdf).pvalue > 1e-3
    assert abs(np.corrcoef(samples.mix, samples.weights[:, 0])[0, 1]) < 0.03


def test_alpha_shapes_the_mixture():
    samples = draw(5000, alpha=0.3)
    assert stats.kstest(samples.weights[:, 2], stats.beta(0.3, 0.6).cdf).pvalue > 1e-3
    assert stats.kstest(samples.mix, stats.beta(0.3, 0.3).cdf).pvalue > 1e-3


def test_severity_is_drawn_once_per_image_or_fixed():
    published, fixed = draw(4000), draw(4000, severity=3)
    largest = lambda samples: samples.factor.max(axis=(1, 2))  # noqa: E731
    # Severity 0, a quarter of the images, leaves every level under 0.1 and so every factor under 0.118.
    np.testing.assert_allclose(np.mean(largest(published) <= 0.118), 0.25, atol=0.03)
    assert np.mean(largest(fixed) <= 0.118) < 0.001
    level = (fixed.factor.ravel() - 0.1) / 0.18
    assert stats.kstest(level, stats.uniform(0.1, 2.9).cdf).pvalue > 1e-3


def test_geometry():
    """The signs and sizes of what an image is moved by; the number of operations to draw from."""
    samples = draw(4000, severity=3, geometric=True)
    degrees, slope, shift = (leaf.ravel() for leaf in samples.geometry)
    level = (samples.factor.ravel() - 0.1) / 0.18
    np.testing.assert_allclose(np.abs(slope), 0.03 * level, atol=1e-6)
    np.testing.assert_allclose(np.abs(shift), level / 30, atol=1e-6)
    assert np.all(np.abs(np.abs(degrees) - (3 * level - 0.5)) < 0.5 + 1e-5)  # rounded towards zero
    assert set(np.unique(degrees)) == set(range(-8, 9))
    assert np.all(np.sign(slope) == np.sign(shift))
    assert abs(np.mean(slope > 0) - 0.5) < 5 * 0.5 / np.sqrt(slope.size)
    np.testing.assert_allclose(np.bincount(samples.operation.ravel()) / slope.size, np.full(11, 1 / 11), atol=0.008)
    assert len(AugMixOptions(operations=PACS_OPERATIONS, geometric=True).all_operations) == 13


def test_geometry_changes_no_other_draw():
    plain, moved = draw(4000, severity=3), draw(4000, severity=3, geometric=True)
    assert plain.geometry is None
    for name in ("bits", "threshold", "factor", "depth", "weights", "mix"):
        np.testing.assert_array_equal(getattr(plain, name), getattr(moved, name), err_msg=name)
    # Were the key of the signs one of the others', a sign would follow from a level, an operation or a weight.
    parts = (np.sign(moved.geometry.slope), moved.factor, moved.operation, moved.weights)
    correlation = np.corrcoef(np.concatenate([part.reshape(4000, -1) for part in parts], axis=1), rowvar=False)
    assert np.abs(correlation[:9, 9:]).max() < 5.5 / np.sqrt(4000)
    # Trained runs and their resumed steps depend on these draws.
    np.testing.assert_array_equal(plain.operation[0], [[0, 1, 3], [5, 3, 5], [1, 3, 0]])


@pytest.mark.slow
def test_geometric_batch_is_the_replay_of_each_position():
    options, key = {"severity": 3, "geometric": True}, jax.random.key(7)
    images = photographs(4, size=12)
    got = np.asarray(jit(partial(augmix, **options))(key, images))
    keys = jax.vmap(partial(jax.random.fold_in, key))(np.arange(4))
    samples = jax.tree.map(np.asarray, jit(jax.vmap(partial(sample_augmix, **options)))(keys))
    for i, image in enumerate(images):
        sample = jax.tree.map(lambda leaf, i=i: leaf[i], samples)
        expected = replay(sample, image, AugMixOptions(**options).all_operations)[1]
        np.testing.assert_allclose(got[i], expected, atol=1e-4)


def test_geometric_operations_need_a_sample_with_geometry():
    sample = jax.tree.map(lambda leaf: leaf[0], draw(4000))
    with pytest.raises(ValueError, match=r"^sample: got one drawn with geometric=False"):
        augmix_chains(sample, photographs(1)[0], operations=("rotate",))


def test_depth_options():
    sticky, free, fixed = draw(4000), draw(4000, sticky_depth=False), draw(4000, depth=2, width=4)
    assert np.all(sticky.depth == sticky.depth[:, :1])
    np.testing.assert_allclose(np.mean(free.depth[:, 0] == free.depth[:, 1]), 1 / 3, atol=0.03)
    assert np.all(fixed.depth == 2)
    assert fixed.operation.shape == (4000, 4, 2)


@pytest.mark.slow
def test_grey_images_stay_grey_and_masked_steps_do_nothing():
    grey = np.repeat(photographs(4)[..., :1], 3, axis=-1)
    out = np.asarray(jit(partial(augmix, operations=PACS_OPERATIONS))(jax.random.key(0), grey))
    np.testing.assert_array_equal(out, np.repeat(out[..., :1], 3, axis=-1))
    sample = jax.tree.map(lambda leaf: leaf[0], draw(4000))._replace(depth=np.zeros(3, np.int32))
    untouched = jit(partial(augmix_chains, operations=MVTEC_OPERATIONS))(sample, grey[0])
    np.testing.assert_array_equal(np.asarray(untouched), np.stack([grey[0]] * 3))


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("operations", ("rotate",)),
        ("operations", ()),
        ("severity", 11),
        ("severity", "3"),
        ("width", 0),
        ("depth", 0),
        ("alpha", 0),
    ],
)
def test_errors_name_the_option(option, value):
    with pytest.raises(ValueError, match=f"^{option}: expected .* got "):
        augmix(jax.random.key(0), photographs(1), **AugMixOptions(**{option: value})._asdict())


@signatures.unchecked()
def test_images_must_be_uint8():
    with pytest.raises(ValueError, match=r"images: expected uint8 \[b h w 3\], got float32"):
        augmix(jax.random.key(0), np.zeros((1, 8, 8, 3), np.float32))
