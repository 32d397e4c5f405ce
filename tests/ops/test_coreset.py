"""The greedy k-centre choice against a brute-force version and anomalib's."""

from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest
from scipy.spatial.distance import cdist

from gnl_jax.ops.coreset import k_center

GOLDEN = np.load(Path(__file__).parent.parent / "golden/patchcore.npz")


def test_equals_brute_force():
    points = np.random.default_rng(1).normal(size=(80, 5)).astype(np.float32)
    everything, chosen = cdist(points.astype(np.float64), points.astype(np.float64)), [7]
    while len(chosen) < 30:
        chosen.append(int(everything[:, chosen].min(1).argmax()))
    np.testing.assert_array_equal(k_center(jnp.asarray(points), k=30, start=7), chosen)


def test_equals_anomalib():
    start = int(GOLDEN["coreset_start"])
    chosen = k_center(jnp.asarray(GOLDEN["coreset_points"]), k=len(GOLDEN["coreset"]), start=start)
    np.testing.assert_array_equal(chosen, GOLDEN["coreset"])


def test_all_rows_are_chosen_once_though_all_be_equal():
    assert sorted(np.asarray(k_center(jnp.ones((6, 3)), k=6, start=2)).tolist()) == list(range(6))


@pytest.mark.parametrize("k", [0, 7])
def test_more_rows_than_there_are_is_an_error(k):
    with pytest.raises(ValueError, match=f"k: got {k}, expected 1 to 6"):
        k_center(jnp.ones((6, 3)), k=k, start=0)
