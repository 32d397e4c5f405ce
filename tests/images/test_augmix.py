"""AugMix against a Pillow replay of the same drawn parameters, and its distributions."""

from functools import cache, partial

import jax
import numpy as np
import pytest
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

PILLOW = {
    "autocontrast": lambda image, bits, threshold, factor: ImageOps.autocontrast(image),
    "equalize": lambda image, bits, threshold, factor: ImageOps.equalize(image),
    "posterize": lambda image, bits, threshold, factor: ImageOps.posterize(image, bits),
    "solarize": lambda image, bits, threshold, factor: ImageOps.solarize(image, threshold),
    "color": lambda image, bits, threshold, factor: ImageEnhance.Color(image).enhance(factor),
    "sharpness": lambda image, bits, threshold, factor: ImageEnhance.Sharpness(image).enhance(factor),
    "contrast": lambda image, bits, threshold, factor: ImageEnhance.Contrast(image).enhance(factor),
    "brightness": lambda image, bits, threshold, factor: ImageEnhance.Brightness(image).enhance(factor),
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
        for step in range(sample.depth[chain]):
            operation = PILLOW[operations[sample.operation[chain, step]]]
            parameters = (int(sample.bits[chain, step]), int(sample.threshold[chain, step]))
            out = operation(out, *parameters, float(sample.factor[chain, step]))
        chains.append(np.asarray(out))
    chains = np.stack(chains)
    mixed = np.tensordot(sample.weights.astype(np.float64), chains, axes=1)
    return chains, (1 - sample.mix) * image.astype(np.float64) + sample.mix * mixed


@cache
def draw(n, **options):
    keys = jax.random.split(jax.random.key(0), n)
    return jax.tree.map(np.asarray, jax.jit(jax.vmap(lambda key: sample_augmix(key, **options)))(keys))


@pytest.mark.parametrize("over", [jax.vmap, _one_by_one], ids=["vectorised", "one by one"])
def test_equals_pillow(over):
    options = {"operations": PACS_OPERATIONS, "over": over}

    def both(sample, image):
        return augmix_chains(sample, image, **options), apply_augmix(sample, image, **options)

    images = photographs(120)
    samples = draw(120, operations=PACS_OPERATIONS, sticky_depth=False)
    chains, mixed = jax.jit(over(both))(samples, images)
    for i, image in enumerate(images):
        sample = jax.tree.map(lambda leaf, i=i: leaf[i], samples)
        expected_chains, expected = replay(sample, image, PACS_OPERATIONS)
        np.testing.assert_array_equal(np.asarray(chains[i]), expected_chains)
        np.testing.assert_allclose(np.asarray(mixed[i]), expected, atol=1e-4)


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
    apply = jax.jit(partial(apply_augmix, operations=MVTEC_OPERATIONS))
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


def test_depth_options():
    sticky, free, fixed = draw(4000), draw(4000, sticky_depth=False), draw(4000, depth=2, width=4)
    assert np.all(sticky.depth == sticky.depth[:, :1])
    np.testing.assert_allclose(np.mean(free.depth[:, 0] == free.depth[:, 1]), 1 / 3, atol=0.03)
    assert np.all(fixed.depth == 2)
    assert fixed.operation.shape == (4000, 4, 2)


def test_grey_images_stay_grey_and_masked_steps_do_nothing():
    grey = np.repeat(photographs(4)[..., :1], 3, axis=-1)
    out = np.asarray(jax.jit(partial(augmix, operations=PACS_OPERATIONS))(jax.random.key(0), grey))
    np.testing.assert_array_equal(out, np.repeat(out[..., :1], 3, axis=-1))
    sample = jax.tree.map(lambda leaf: leaf[0], draw(4000))._replace(depth=np.zeros(3, np.int32))
    untouched = jax.jit(partial(augmix_chains, operations=MVTEC_OPERATIONS))(sample, grey[0])
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


def test_images_must_be_uint8():
    with pytest.raises(ValueError, match=r"images: expected uint8 \[b h w 3\], got float32"):
        augmix(jax.random.key(0), np.zeros((1, 8, 8, 3), np.float32))
