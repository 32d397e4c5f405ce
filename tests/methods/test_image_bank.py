"""Banks whose rows are whole images, and the cosine distance: SciPy's numbers from the teacher's own stages."""

import re
from fractions import Fraction

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.spatial.distance import cdist
from small_banks import MATCHED, TEACHER, VARIABLES, defective, fitted, make, pictures, preprocess, score

from gnl_jax.config import default_config, set_method
from gnl_jax.detection.fit import fit
from gnl_jax.methods.bank_options import BankOptions, BankSize
from gnl_jax.methods.base import GroupedImages
from gnl_jax.methods.build import build_method
from gnl_jax.ops.nearest import DISTANCES
from gnl_jax.ops.patches import distance_map, patch_embedding

FIRST, SECOND = (BankSize(Fraction(1), (stage,)) for stage in (1, 2))
GOOD, TEST = pictures(6), pictures(3, seed=1)
TEST[2] = defective(TEST[2])
PARTS = ["a", "a", "b", "c", "d", "e"]
WHOLE = BankOptions(sizes=(SECOND,), rows=100, embedding="flattened", distance="cosine")


def rows_of(images, stage, *, pooled):
    found = np.asarray(jax.jit(TEACHER.apply)(VARIABLES, preprocess(images))[stage - 1], np.float64)
    return found.mean((1, 2)) if pooled else found.reshape(len(images), -1)


@pytest.mark.slow
@pytest.mark.parametrize("pooled", [True, pytest.param(False, marks=pytest.mark.slow)])
def test_the_distance_of_whole_images_is_scipys(pooled):
    method = make(WHOLE._replace(embedding="pooled" if pooled else "flattened"))
    variables = fitted(method, GOOD)
    assert len(variables["banks"]["0"]["rows"]) == 6
    found = score(method, variables, TEST)
    expected = cdist(*(rows_of(images, 2, pooled=pooled) for images in (TEST, GOOD)), "cosine").min(1)
    np.testing.assert_allclose(found.score, expected, rtol=1e-3)
    assert found.map is None
    assert found.score.argmax() == 2
    np.testing.assert_allclose(score(method, variables, GOOD).score, 0, atol=1e-6)


@pytest.mark.slow
def test_stages_are_standardised_by_images_of_other_parts_and_added():
    method = make(WHOLE._replace(sizes=(FIRST, SECOND)))
    variables = fitted(method, GroupedImages(GOOD, PARTS))
    apart = np.array(PARTS)[:, None] == np.array(PARTS)
    total, alone = 0, 0
    for i, stage in enumerate((1, 2)):
        good, test = (rows_of(images, stage, pooled=False) for images in (GOOD, TEST))
        others = np.where(apart, np.inf, cdist(good, good, "cosine")).min(1)
        bank = variables["banks"][str(i)]
        assert bank["location"] == pytest.approx(others.mean(), rel=1e-3)
        assert bank["scale"] == pytest.approx(others.std(), rel=1e-3)
        total = total + (cdist(test, good, "cosine").min(1) - others.mean()) / others.std()
        alone = alone + (others - others.mean()) / others.std()
    np.testing.assert_allclose(score(method, variables, TEST).score, total, rtol=2e-3)
    as_new = score(method, variables, GOOD, variables["parts"])
    np.testing.assert_allclose(as_new.score, alone, atol=2e-3)


@pytest.mark.slow
def test_matched_images_see_the_reference():
    """As many rows, another score, and drift as patches have it."""
    method = make(WHOLE, MATCHED)
    variables = fitted(method, GOOD)
    found = score(method, variables, TEST)
    assert found.score.argmax() == 2
    assert not np.allclose(found.score, score(make(WHOLE), fitted(make(WHOLE), GOOD), TEST).score, rtol=0.05)
    patches = make(BankOptions(rows=10), MATCHED)
    np.testing.assert_allclose(found.drift, score(patches, fitted(patches, GOOD), TEST).drift, rtol=1e-5)


@pytest.mark.slow
def test_patches_have_cosine_distances_too():
    method = make(BankOptions(rows=1000, distance="cosine"))
    found = score(method, fitted(method, GOOD), TEST)
    assert found.map.shape == (3, 32, 32)
    assert found.score.argmax() == 2
    everything = np.concatenate([GOOD, TEST])
    embedded = np.asarray(patch_embedding(TEACHER.apply(VARIABLES, preprocess(everything))[1:]), np.float64)
    good, test = (patches.reshape(-1, 12) for patches in np.split(embedded, [6]))
    expected = cdist(test, good, "cosine").min(1).reshape(3, 4, 4)
    np.testing.assert_allclose(found.map, distance_map(jnp.asarray(expected), size=(32, 32)), rtol=1e-3, atol=1e-6)


def test_cosine_is_scipys_and_a_zero_vector_is_at_a_half():
    a, b = np.random.default_rng(0).normal(size=(2, 20, 7)).astype(np.float32)
    cosine = DISTANCES["cosine"]
    chord = np.linalg.norm(np.asarray(cosine.prepare(a)) - np.asarray(cosine.prepare(b)), axis=-1)
    np.testing.assert_allclose(cosine.of_euclidean(chord), np.diag(cdist(a, b, "cosine")), rtol=1e-5)
    np.testing.assert_array_equal(cosine.prepare(np.zeros((2, 7), np.float32)), 0)


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("embedding", "whole", "embedding: got 'whole', expected one of patches, tokens, pooled, flattened, class"),
        ("distance", "l1", "distance: got 'l1', expected one of euclidean, unit, cosine"),
        ("score", "patches", "score: got 'patches' with pooled images, expected 'map'"),
        ("matched", (1, 2, 3), "last_alpha: got 1 with stage 3 matched and pooled, expected less"),
    ],
)
def test_wrong_options(field, value, message):
    config = set_method(default_config(), "image_bank", like="mvtec")
    config.method.memory_bank[field] = value
    with pytest.raises(ValueError, match="^" + re.escape(f"method.memory_bank.{message}")):
        build_method(config, frozen=VARIABLES)


def test_fit_wants_score_maps():
    with pytest.raises(
        ValueError, match=r"^method\.memory_bank\.embedding: got 'pooled', expected 'patches' or 'tokens': a"
    ):
        fit(GOOD, set_method(default_config(), "image_bank", like="mvtec"))
