"""Distances to a bank against SciPy and anomalib's PatchcoreModel, and what is exact about them."""

from pathlib import Path

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.spatial.distance import cdist

from gnl_jax.ops.nearest import BLOCK, half_squared_norms, nearest, reweighted_score

RNG = np.random.default_rng(0)
BANK = jnp.asarray(RNG.normal(3, 1, (50, 12)).astype(np.float32))
GOLDEN = np.load(Path(__file__).parent.parent / "golden/patchcore.npz")


@pytest.mark.parametrize("n", [7, BLOCK, 2 * BLOCK + 5])
@pytest.mark.parametrize("lead", [(), (1,), (3,), (2, 3)])
def test_equals_all_distances_computed(lead, n):
    queries = RNG.normal(3, 1, (*lead, n, 12)).astype(np.float32)
    distances, rows = jax.jit(nearest)(jnp.asarray(queries), BANK, half_squared_norms(BANK))
    everything = cdist(queries.reshape(-1, 12).astype(np.float64), np.asarray(BANK, np.float64))
    chex.assert_shape((distances, rows), (*lead, n))
    np.testing.assert_allclose(np.ravel(distances), everything.min(1), rtol=1e-5)
    np.testing.assert_array_equal(np.ravel(rows), everything.argmin(1))


def test_a_row_of_the_bank_is_at_distance_zero():
    """To the last bit, where the expanded square alone would leave the root of a rounding error, 0.03 and more."""
    bank = BANK + 30
    distances, rows = nearest(bank, bank, half_squared_norms(bank))
    np.testing.assert_array_equal(rows, np.arange(50))
    assert float(distances.max()) == 0
    assert rows.dtype == jnp.int32


@pytest.mark.parametrize("repeats", [1, 2 * BLOCK // 50 + 1])
def test_the_first_of_equal_rows_is_named(repeats):
    quarters = jnp.round(4 * BANK) / 4  # whose products are exact, in whatever order a processor adds them
    bank = jnp.concatenate([quarters, quarters])
    distances, rows = nearest(jnp.tile(quarters, (repeats, 1)), bank, half_squared_norms(bank))
    np.testing.assert_array_equal(rows, np.tile(np.arange(50), repeats))
    assert float(distances.max()) == 0


def test_what_is_not_a_number_has_no_distance_in_a_block():
    queries = jnp.tile(BANK, (2 * BLOCK // 50 + 1, 1)).at[BLOCK + 1, 3].set(jnp.nan)
    distances, rows = nearest(queries, BANK, half_squared_norms(BANK))
    np.testing.assert_array_equal(np.flatnonzero(np.isnan(distances)), [BLOCK + 1])
    assert rows.max() < 50


def test_rows_that_do_not_count_are_never_nearest():
    norms = jnp.where(jnp.arange(50)[None] == jnp.arange(4)[:, None], jnp.inf, half_squared_norms(BANK)[None])
    distances, rows = nearest(BANK[:4, None], BANK, norms)
    others = cdist(BANK[:4], BANK) + np.where(np.eye(4, 50), np.inf, 0)
    np.testing.assert_allclose(distances[:, 0], others.min(1), rtol=1e-5)
    np.testing.assert_array_equal(rows[:, 0], others.argmin(1))


def test_rows_of_each_image_that_do_not_count_in_every_block():
    queries = jnp.asarray(RNG.normal(3, 1, (2, BLOCK + 3, 12)), jnp.float32)
    norms = jnp.where(jnp.arange(50)[None] // 25 == jnp.arange(2)[:, None], jnp.inf, half_squared_norms(BANK)[None])
    distances, rows = nearest(queries, BANK, norms)
    for i, counted in enumerate([BANK[25:], BANK[:25]]):
        np.testing.assert_allclose(distances[i], cdist(queries[i], counted).min(1), rtol=1e-5)
        np.testing.assert_array_equal(rows[i], cdist(queries[i], counted).argmin(1) + 25 * (i == 0))


def test_what_is_not_a_number_stays_none():
    distances, _ = nearest(BANK.at[0, 0].set(jnp.nan)[:2], BANK, half_squared_norms(BANK))
    assert np.isnan(distances[0])
    assert distances[1] == 0


@pytest.mark.slow
@pytest.mark.parametrize(
    ("neighbours", "rows", "score"), [(1, 64, "score_1"), (9, 64, "score_9"), (9, 5, "score_9_of_5")]
)
def test_image_scores_are_those_of_anomalib(neighbours, rows, score):
    from gnl_jax.images.views import normalise
    from gnl_jax.nn.pretrained import load_teacher
    from gnl_jax.nn.resnet import ResNet
    from gnl_jax.ops.patches import patch_embedding

    bank = jnp.asarray(GOLDEN["bank"][:rows])
    stages = ResNet("resnet18").apply(load_teacher("resnet18", "bundled"), normalise(GOLDEN["images"], "imagenet"))
    embedding = patch_embedding(stages[1:])
    chosen = embedding.reshape(4, 64, 384)[:, GOLDEN["embedding_positions"]]
    assert np.linalg.norm(chosen - GOLDEN["embedding"]) / np.linalg.norm(GOLDEN["embedding"]) < 1e-5
    patches = embedding[2:].reshape(2, 64, 384)
    distances, nearest_rows = nearest(patches, bank, half_squared_norms(bank))
    if rows == 64:
        np.testing.assert_allclose(distances, GOLDEN["distances"], rtol=1e-4)
        np.testing.assert_array_equal(nearest_rows, GOLDEN["nearest"])
    found = [
        reweighted_score(p, d, r, bank, neighbours=neighbours) for p, d, r in zip(patches, distances, nearest_rows)
    ]
    np.testing.assert_allclose(found, GOLDEN[score], rtol=1e-4)
