"""Feature mixing in training against loops over images, as MixStyle and EFDMix are written down."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gnl_jax.ops.mixing import Mixing, make_mixer, mix_features, random_partners

ALWAYS = {kind: Mixing(kind, probability=1.0, alpha=0.5) for kind in ("mixstyle", "efdm")}
FEATURES = np.random.default_rng(0).gamma(0.5, size=(6, 3, 4, 5)) - 0.3
ALL = np.ones(6, bool)


def draws(key, valid):
    """What one call draws: partners, and the share that each image keeps."""
    _, partners, shares = jax.random.split(key, 3)
    kept = [jax.random.beta(jax.random.fold_in(shares, i), 0.5, 0.5) for i in range(len(valid))]
    return np.asarray(random_partners(partners, valid)), np.asarray(kept, np.float64)


def mixstyle(x, y, share):
    """MixStyle of x with partner y: means and deviations (unbiased, epsilon 1e-6) move to a weighted average."""
    (mx, sx), (my, sy) = ((f.mean((0, 1)), np.sqrt(f.var((0, 1), ddof=1) + 1e-6)) for f in (x, y))
    return (x - mx) / sx * (share * sx + (1 - share) * sy) + share * mx + (1 - share) * my


def efdmix(x, y, share):
    """EFDMix: x + (y's value of the same rank - x) (1 - share), channel by channel."""
    result = np.empty_like(x)
    for c in range(x.shape[-1]):
        own = x[..., c].ravel()
        lent = np.empty_like(own)
        lent[np.argsort(own, kind="stable")] = np.sort(y[..., c].ravel())
        result[..., c] = (own + (lent - own) * (1 - share)).reshape(x.shape[:2])
    return result


@pytest.mark.parametrize(
    ("kind", "published"), [pytest.param("mixstyle", mixstyle, marks=pytest.mark.slow), ("efdm", efdmix)]
)
def test_as_published(kind, published):
    key = jax.random.key(3)
    with jax.enable_x64(True):
        mixed = np.asarray(mix_features(key, jnp.asarray(FEATURES), ALL, ALWAYS[kind]))
        partners, kept = draws(key, ALL)
    assert not (partners == np.arange(6)).all()
    for i in range(6):
        np.testing.assert_allclose(mixed[i], published(FEATURES[i], FEATURES[partners[i]], kept[i]), rtol=1e-6)


@pytest.mark.slow
def test_the_share_is_beta_distributed():
    """Its variance at alpha 0.1 is 1 / (4 (2 alpha + 1)), mean one half; EFDM of a constant by another shows it."""
    n = 4000
    features = jnp.zeros((n, 1, 1, 1)).at[: n // 2].set(1.0)
    mixed = np.asarray(mix_features(jax.random.key(0), features, np.ones(n, bool), Mixing("efdm", probability=1.0)))
    own = np.asarray(features).ravel()
    crossed = np.abs(mixed.ravel() - own)  # 1 - lambda where the partner has the other value, else 0
    crossed = crossed[crossed > 0]
    assert len(crossed) > 1500
    assert crossed.mean() == pytest.approx(0.5, abs=0.04)
    assert crossed.var() == pytest.approx(1 / 4.8, abs=0.02)


def test_partners_are_a_permutation_of_the_valid_rows():
    valid = np.array([True, True, False, True, False, True])
    seen = set()
    for seed in range(60):
        partners = np.asarray(random_partners(jax.random.key(seed), valid))
        assert sorted(partners[valid]) == [0, 1, 3, 5]
        assert partners[~valid].tolist() == [2, 4]
        seen.add(tuple(partners[valid]))
    assert len(seen) > 15  # of 24


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["mixstyle", "efdm"])
def test_rows_that_fill_up_change_nothing(kind):
    mix = jax.jit(functools.partial(mix_features, mixing=ALWAYS[kind]))
    features = FEATURES.astype(np.float32)
    few = mix(jax.random.key(1), features[:4], ALL[:4])
    filled = mix(jax.random.key(1), features, np.arange(6) < 4)
    np.testing.assert_array_equal(few, filled[:4])


def test_a_coin_for_the_batch():
    features = FEATURES.astype(np.float32)
    mix = jax.jit(functools.partial(mix_features, mixing=Mixing("mixstyle", probability=0.3)))
    changed = [bool((np.asarray(mix(jax.random.key(i), features, ALL)) != features).any()) for i in range(200)]
    assert 0.2 < np.mean(changed) < 0.4


@pytest.mark.slow
def test_stages_and_views_draw_apart():
    """The two views of an image are neighbours, and are mixed among their own kind."""
    features = FEATURES.astype(np.float32)
    key = jax.random.key(0)
    match = make_mixer(key, ALL, ALWAYS["efdm"])
    twice = np.asarray(match(1, np.repeat(features, 2, axis=0)))
    again = np.asarray(match(2, features))
    assert twice.shape == (12, 3, 4, 5)
    assert (twice[::2] != twice[1::2]).any()
    assert (twice[::2] != again).any()
    views = np.stack([features, 3 - features], axis=1)
    mixed = np.asarray(match(1, views.reshape(12, 3, 4, 5))).reshape(views.shape)
    for view in range(2):
        stream = jax.random.fold_in(jax.random.fold_in(key, 1), view)
        alone = mix_features(stream, jnp.asarray(views[:, view]), ALL, ALWAYS["efdm"])
        np.testing.assert_array_equal(mixed[:, view], alone)


def test_an_unknown_kind():
    with pytest.raises(ValueError, match=r"method.mixing.kind: got 'adain', expected one of mixstyle, efdm"):
        mix_features(jax.random.key(0), FEATURES, ALL, Mixing("adain"))
