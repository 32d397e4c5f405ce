"""The memory bank: the whole of it again in NumPy, what leaving a part out means, and what does not matter."""

import re
from fractions import Fraction

import jax
import numpy as np
import pytest
from scipy.ndimage import gaussian_filter, map_coordinates, uniform_filter
from scipy.spatial.distance import cdist
from small_banks import (
    EVERYTHING,
    MATCHED,
    PLAIN,
    TEACHER,
    VARIABLES,
    defective,
    fitted,
    make,
    pictures,
    preprocess,
    score,
)

from gnl_jax.config import default_config, set_method
from gnl_jax.images.degrade import degrade, degrade_each
from gnl_jax.methods.bank_options import BankOptions, BankSize
from gnl_jax.methods.bank_views import view_keys
from gnl_jax.methods.base import GroupedImages
from gnl_jax.methods.build import build_method
from gnl_jax.methods.drift import make_drift
from gnl_jax.methods.reverse_distillation import Model
from gnl_jax.methods.scoring import Scoring

WHOLE, HALF = BankSize(Fraction(1), (2, 3)), BankSize(Fraction(1, 2), (2,))
GOOD, TEST = pictures(5), pictures(3, seed=1)
TEST[2] = defective(TEST[2])
ALL = BankOptions(rows=EVERYTHING)


# --- the whole method in NumPy, float64 ---


def stages_of(x, references=None, *, alpha=0.0, last_alpha=0.0, matched=()):
    """Three stages of the tiny teacher; those matched get the distribution of a reference [h*w c]."""
    kernels = [np.asarray(VARIABLES["params"][f"Conv_{i}"]["kernel"], np.float64) for i in range(2)]
    found = []
    for stage in (1, 2, 3):
        if stage < 3:
            x = np.maximum(blocks(x, kernels[stage - 1].shape[0], kernels[stage - 1]), 0)
        else:
            x = blocks(x, 2, None)
        if references is not None and stage in matched:
            weight = last_alpha if stage == 3 else alpha
            x = np.stack([efdm(image, references[stage], weight) for image in x])
        found.append(x)
    return found


def blocks(x, k, kernel):
    n, h, w, c = x.shape
    cut = x.reshape(n, h // k, k, w // k, k, c)
    return cut.mean((2, 4)) if kernel is None else np.einsum("nhiwjc,ijcd->nhwd", cut, kernel)


def efdm(image, reference, alpha):
    flat = image.reshape(-1, image.shape[-1])
    ranks = np.argsort(np.argsort(flat, axis=0, kind="stable"), axis=0, kind="stable")
    return ((1 - alpha) * flat + alpha * np.take_along_axis(reference, ranks, 0)).reshape(image.shape)


def moments(images):
    """Mean of each channel [n 1 1 3], and the deviation over all of them [n 1 1 1]."""
    mean = images.mean((1, 2), keepdims=True)
    return mean, np.sqrt(((images - mean) ** 2).mean((1, 2, 3), keepdims=True))


def like(images, good, target):
    """Pixel values [0, 255] whose moments are those of good images on average, or the nearest among theirs."""
    asked, known = moments(images), moments(good)
    if target == "mean":
        wanted = [known[i].mean(0) for i in (0, 1)]
    else:
        wanted = [np.minimum(np.maximum(asked[i], known[i].min(0)), known[i].max(0)) for i in (0, 1)]
    return (images - asked[0]) / asked[1] * wanted[1] + wanted[0]


def embedding_of(stages):
    pooled = [uniform_filter(stage, (1, 3, 3, 1), mode="constant") for stage in stages]
    n, h, w, _ = pooled[0].shape
    for i, stage in enumerate(pooled):
        at = [(np.arange(big) + 0.5) * small / big - 0.5 for big, small in zip((h, w), stage.shape[1:3])]
        grid = np.meshgrid(np.arange(n), *at, np.arange(stage.shape[3]), indexing="ij")
        pooled[i] = map_coordinates(stage, grid, order=1, mode="nearest")
    return np.concatenate(pooled, -1)


def map_of(distances, size):
    at = (np.arange(size) + 0.5) * distances.shape[1] / size - 0.5
    grid = np.meshgrid(at, at, indexing="ij")
    return np.stack([gaussian_filter(map_coordinates(d, grid, order=1, mode="nearest"), 4) for d in distances])


def in_numpy(good, test, *, chosen, scoring, options):
    """Maps of the test images from a bank of every patch of the good ones."""
    good, test = good.astype(np.float64), test.astype(np.float64)
    matching = {}
    if scoring.matching != "none":
        if options.pixels:
            good, test = (like(images, good, options.pixel_target) for images in (good, test))
        plain = stages_of(good / 255)
        references = {
            k: np.sort(stage.reshape(len(good), -1, stage.shape[-1]), axis=1).mean(0)
            for k, stage in enumerate(plain, start=1)
        }
        matching = {"references": references, "matched": options.matched}
        matching |= {"alpha": scoring.alpha, "last_alpha": options.last_alpha}
    bank, asked = (
        embedding_of([stages_of(images / 255, **matching)[k - 1] for k in chosen]) for images in (good, test)
    )
    distances = cdist(asked.reshape(-1, asked.shape[-1]), bank.reshape(-1, bank.shape[-1])).min(1)
    return map_of(distances.reshape(asked.shape[:3]), test.shape[1])


@pytest.mark.parametrize(
    ("chosen", "scoring", "changes"),
    [
        ((2, 3), PLAIN, {}),
        ((1, 2), MATCHED, {}),
        ((2, 3), MATCHED, {"pixels": True, "matched": (1, 2, 3), "last_alpha": 0.6}),
        ((2, 3), MATCHED, {"pixels": True, "pixel_target": "range"}),
    ],
)
def test_equals_numpy(chosen, scoring, changes):
    options = ALL._replace(sizes=(BankSize(Fraction(1), chosen),), **changes)
    method = make(options, scoring)
    found = score(method, fitted(method, GOOD), TEST)
    expected = in_numpy(GOOD, TEST, chosen=chosen, scoring=scoring, options=options)
    np.testing.assert_allclose(found.map, expected, rtol=2e-3, atol=1e-4 * expected.max())
    np.testing.assert_allclose(found.score, expected.max((1, 2)), rtol=2e-3)
    assert found.score.argmax() == 2
    if scoring is PLAIN:  # matching moves the ranks of a quarter of so small an image, all over it
        y, x = np.unravel_index(found.map[2].argmax(), (32, 32))
        assert 13 <= y < 27
        assert 5 <= x < 19


@pytest.mark.parametrize("region", [None, slice(40)])
def test_joined_scores_are_the_banks_own_on_one_scale_and_the_map_reaches_their_sum(region):
    """The scale is that of the good images' scores, each without its own rows."""
    good, test = pictures(6, size=64), pictures(4, seed=1, size=64)
    test[2] = defective(test[2])
    inside = np.ones((64, 64), bool)
    if region is not None:
        inside[:] = False
        inside[region] = True
    seen = {} if region is None else {"region": inside}
    score_sum, map_sum, outside = np.zeros(4), np.zeros((4, 64, 64)), ~inside
    for size in (WHOLE, HALF):
        alone = make(ALL._replace(sizes=(size,)), MATCHED)
        variables = fitted(alone, good)
        new = score(alone, variables, good, variables["parts"]).score
        found = score(alone, variables | seen, test)
        score_sum += (found.score - new.mean()) / new.std()
        map_sum += (found.map - new.mean()) / new.std()
    both = make(ALL._replace(sizes=(WHOLE, HALF), joined="scores"), MATCHED)
    found = score(both, fitted(both, good) | seen, test)
    np.testing.assert_allclose(found.score, score_sum, rtol=1e-3)
    assert found.score.argmax() == 2
    expected = map_sum + (score_sum - map_sum[:, inside].max(1))[:, None, None]
    np.testing.assert_allclose(found.map[:, inside], expected[:, inside], rtol=1e-3, atol=1e-2)
    np.testing.assert_allclose(found.map[:, inside].max(1), found.score, rtol=1e-6)
    assert np.all(found.map[:, outside] <= found.map.min((1, 2))[:, None])


def test_scores_of_one_part_alone_are_joined_as_they_are():
    both = make(ALL._replace(sizes=(WHOLE, HALF), joined="scores"), MATCHED)
    variables = fitted(both, pictures(1, size=64))
    assert [(float(b["location"]), float(b["scale"])) for b in variables["banks"].values()] == [(0, 1), (0, 1)]


# --- what the rows are ---


def test_a_bank_of_everything_is_at_distance_zero_from_its_own_images():
    method = make(ALL)
    variables = fitted(method, GOOD)
    assert variables["banks"]["0"]["rows"].shape == (5 * 16, 12)
    np.testing.assert_array_equal(variables["banks"]["0"]["owners"], np.arange(5).repeat(16))
    np.testing.assert_allclose(score(method, variables, GOOD).map, 0, atol=1e-3)


def test_of_fewer_patches_than_rows_all_are_taken_and_a_share_is_a_share():
    everything = np.asarray(fitted(make(ALL), GOOD)["banks"]["0"]["rows"])
    for coreset in ("random", "k_center"):
        found = fitted(make(BankOptions(rows=81, coreset=coreset)), GOOD)["banks"]["0"]["rows"]
        np.testing.assert_array_equal(found, everything)
        found = fitted(make(BankOptions(rows=0.25, coreset=coreset)), GOOD)["banks"]["0"]["rows"]
        assert len(np.unique(found, axis=0)) == 20
        assert set(map(bytes, np.asarray(found))) <= set(map(bytes, everything))


def test_a_coreset_is_spread_further_than_a_draw():
    """The farthest patch from a bank of ten is nearer where the ten were chosen greedily."""
    method, farthest = make(ALL), {}
    everything = np.asarray(fitted(method, GOOD)["banks"]["0"]["rows"])
    for coreset in ("random", "k_center"):
        rows = fitted(make(BankOptions(rows=10, coreset=coreset, projection=0)), GOOD)["banks"]["0"]["rows"]
        farthest[coreset] = cdist(everything, rows).min(1).max()
    assert farthest["k_center"] < farthest["random"]


def test_degraded_views_are_candidates_beside_the_images():
    variables, plain = (fitted(make(ALL._replace(views=views)), GOOD) for views in (("degraded", "degraded"), ()))
    bank = variables["banks"]["0"]
    np.testing.assert_array_equal(bank["owners"], np.tile(np.arange(5).repeat(16), 3))
    clean, views, more = np.split(np.asarray(bank["rows"]), 3)
    np.testing.assert_array_equal(clean, plain["banks"]["0"]["rows"])
    assert not np.array_equal(clean, views)
    assert not np.array_equal(views, more)  # each view is drawn anew
    jax.tree.map(np.testing.assert_array_equal, variables["drift"], plain["drift"])  # drift is of the images alone


@pytest.mark.slow
def test_the_same_bits_again_and_another_bank_from_another_seed():
    options = BankOptions(rows=20, coreset="k_center", projection=4, views=("degraded",))
    first, again, other = (fitted(make(options, MATCHED._replace(seed=seed)), GOOD) for seed in (0, 0, 1))
    jax.tree.map(np.testing.assert_array_equal, first, again)
    assert not np.array_equal(first["banks"]["0"]["rows"], other["banks"]["0"]["rows"])


def test_views_do_not_depend_on_how_many_images_pass_at_once():
    images = pictures(11)
    options = ALL._replace(views=("degraded",))
    all_at_once, three = (fitted(make(options._replace(batch_size=b)), images)["banks"]["0"] for b in (0, 3))
    np.testing.assert_allclose(all_at_once["rows"], three["rows"], rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(all_at_once["owners"], three["owners"])


def test_the_key_of_an_image_is_that_of_passes_of_eight():
    """As before batches were chosen: the first key from the pass's first image, the second from the place in it."""
    key, images = jax.random.key(3), pictures(7)
    of_pass = degrade(jax.random.fold_in(key, 20 + 8), images)  # images 8 to 14 of those added to a bank of 20
    keys = view_keys(key, first=20, start=9, n=3)
    np.testing.assert_array_equal(degrade_each(keys, images[1:4]), of_pass[1:4])


class Streamed:
    """Images that are only had by asking for some of them."""

    def __init__(self, images):
        self.images = images

    def __len__(self):
        return len(self.images)

    def __getitem__(self, indices):
        assert len(indices) <= 8
        return self.images[indices]


@pytest.mark.slow
def test_images_read_as_they_are_needed_give_the_same_bits():
    images = pictures(19)  # two batches and three more
    method = make(BankOptions(rows=50, pixels=True, views=("degraded",)), MATCHED)
    jax.tree.map(np.testing.assert_array_equal, fitted(method, images), fitted(method, Streamed(images)))


def test_components_are_principal_and_measured_in():
    method = make(ALL._replace(components=3))
    bank = fitted(method, GOOD)["banks"]["0"]
    whole = np.asarray(fitted(make(ALL), GOOD)["banks"]["0"]["rows"], np.float64)
    assert bank["rows"].shape == (80, 3)
    singular = np.linalg.svd(whole - whole.mean(0))[1][:3]
    np.testing.assert_allclose(np.linalg.norm(bank["rows"], axis=0), singular, rtol=1e-3)
    np.testing.assert_allclose(bank["components"].T @ bank["components"], np.eye(3), atol=1e-5)
    found = score(method, fitted(method, GOOD), np.concatenate([GOOD[:1], TEST[2:]]))
    assert found.score[1] > 0.01 > 1e-3 > found.score[0]


# --- as if a part were new ---


@pytest.mark.slow
@pytest.mark.parametrize("how", ["map", "patches"])
def test_leaving_a_part_out_is_a_bank_without_its_rows(how):
    method = make(ALL._replace(score=how, neighbours=5), MATCHED)
    parts = ["a", "b", "b", "c", "d"]
    variables = fitted(method, GroupedImages(GOOD, parts))
    found = score(method, variables, GOOD, variables["parts"])
    bank = variables["banks"]["0"]
    of_rows = np.asarray(variables["parts"])[np.asarray(bank["owners"])]
    for part, images in ((1, [1, 2]), (3, [4])):
        kept = of_rows != part
        less = {**bank, **{name: bank[name][kept] for name in ("rows", "half_norms", "owners")}}
        alone = score(method, {**variables, "banks": {"0": less}}, GOOD[images])
        np.testing.assert_allclose(found.score[images], alone.score, rtol=1e-5)
        np.testing.assert_allclose(found.map[images], alone.map, rtol=1e-4, atol=1e-6)
        assert found.score[images].min() > 1e-3
    nothing = score(method, variables, GOOD, [-1] * 5)
    np.testing.assert_array_equal(nothing.score, score(method, variables, GOOD).score)


@pytest.mark.slow
def test_two_sizes_are_standardised_by_distances_to_other_parts_and_added():
    good, test = pictures(4, size=64), pictures(2, seed=1, size=64)
    both = make(ALL._replace(sizes=(WHOLE, HALF)))
    variables = fitted(both, GroupedImages(good, ["a", "a", "b", "c"]))
    total = 0
    for i, spec in enumerate((WHOLE, HALF)):
        bank = variables["banks"][str(i)]
        owner = np.array([0, 0, 1, 2])[np.asarray(bank["owners"])]
        apart = cdist(np.asarray(bank["rows"], np.float64), np.asarray(bank["rows"], np.float64))
        apart[owner[:, None] == owner[None]] = np.inf
        assert bank["location"] == pytest.approx(apart.min(1).mean(), rel=1e-4)
        assert bank["scale"] == pytest.approx(apart.min(1).std(), rel=1e-3)
        of_one = {"teacher": variables["teacher"], "banks": {"0": bank}, "parts": variables["parts"]}
        alone = score(make(ALL._replace(sizes=(spec,))), of_one, test).map
        total = total + (alone - bank["location"]) / bank["scale"]
    found = score(both, variables, test)
    np.testing.assert_allclose(found.map, total, atol=1e-3)
    np.testing.assert_allclose(found.score, total.max((1, 2)), atol=1e-3)


# --- region, drift, independence ---


@pytest.mark.slow
def test_outside_the_region_nothing_counts():
    region = np.zeros((32, 32), bool)
    region[:, :12] = True  # half of the second column of patches
    for how in ("map", "patches"):
        method = make(ALL._replace(score=how))
        variables = {**fitted(method, np.where(region[..., None], GOOD, np.uint8(128))), "region": region}
        other = TEST.copy()
        other[:, :, 12:] = 255 - other[:, :, 12:]
        found, changed = score(method, variables, TEST), score(method, variables, other)
        np.testing.assert_array_equal(found.score, changed.score)
        np.testing.assert_array_equal(found.map, changed.map)
        assert np.all(found.map[:, ~region] <= found.map.min((1, 2))[:, None])
    whole = score(method, {**variables, "region": np.ones((32, 32), bool)}, TEST)
    plain = score(method, {k: v for k, v in variables.items() if k != "region"}, TEST)
    np.testing.assert_allclose(whole.score, plain.score, rtol=1e-6)


@pytest.mark.slow
def test_rows_of_a_batch_do_not_influence_each_other():
    """Outside a region, too, where a map has its image's own lowest value."""
    good = pictures(3, size=64)
    test = np.concatenate([good[:1], pictures(2, seed=1, size=64)])  # the first one is at distance zero
    method = make(ALL._replace(sizes=(WHOLE, HALF), pixels=True), MATCHED)
    region = np.zeros((64, 64), bool)
    region[:40] = True
    variables = {**fitted(method, good), "region": region}
    first = score(method, variables, test)
    others = score(method, variables, np.stack([test[0], defective(test[1]), np.zeros_like(test[2])]))
    for a, b in zip(first, others):
        np.testing.assert_array_equal(a[0], b[0])


@pytest.mark.slow
@pytest.mark.parametrize("scoring", [PLAIN, MATCHED])
def test_drift_is_measured_as_by_the_other_detectors(scoring):
    method = make(ALL, scoring)
    variables = fitted(method, GOOD)
    model = Model(TEACHER, student=None, dtype=np.float32)
    matched = {}
    if scoring is MATCHED:
        references = variables["banks"]["0"]["references"]
        matched = {"references": (references["1"][None], references["2"][None]), "alpha": scoring.alpha}
        matched["matching"] = "efdm"
    expected = make_drift(VARIABLES, GOOD, model=model, preprocess=preprocess, **matched)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6), variables["drift"], expected)
    again = method.make_drift(variables, GOOD)  # as after recalibration, from images of its own
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6), variables["drift"], again)
    darker = (GOOD * 0.6).astype(np.uint8)
    found = score(method, variables, np.concatenate([GOOD, darker])).drift
    spreads = [spread[0] for spread in variables["drift"]["spread"].values()]
    varying = np.mean([np.mean(spread > 1e-3 * spread.mean()) for spread in spreads])  # a channel may be all zero
    assert found[:5].mean() == pytest.approx(varying, abs=0.02)
    assert found[5:].min() > 2 * found[:5].max()


# --- what is odd and still works ---


@pytest.mark.slow
@pytest.mark.parametrize("scoring", [PLAIN, MATCHED])
def test_images_of_one_value_and_images_twice(scoring):
    options = BankOptions(rows=8, coreset="k_center", sizes=(WHOLE, HALF), pixels=True)
    flat = np.full((3, 64, 64, 3), 77, np.uint8)
    twice = pictures(1, size=64).repeat(3, 0)
    for images in (flat, twice):
        method = make(options, scoring)
        found = score(method, fitted(method, images), np.concatenate([images, pictures(1, seed=3, size=64)]))
        for field in found:
            assert np.isfinite(field).all()
        np.testing.assert_array_equal(found.score[0], found.score[1])


def test_one_image_makes_a_bank_without_drift():
    method = make(ALL)
    variables = fitted(method, GOOD[:1])
    assert "drift" not in variables
    found = score(method, variables, TEST)
    assert found.drift is None
    assert found.score.argmax() == 2


# --- what is refused ---


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("pixel_target", "median", "pixel_target: got 'median', expected one of mean, range"),
        ("joined", "both", "joined: got 'both', expected one of maps, scores"),
        ("sizes", (), "sizes: got none, expected one or more such as '1:2+3'"),
        ("sizes", ("1:2+4",), "sizes: got '1:2+4', expected stages from 1 to 3: the teacher has no others"),
        ("sizes", ("1:",), "sizes: got '1:', expected SCALE:STAGES such as '1:2+3' or '1/2:3'"),
        ("sizes", ("1/0:2",), "sizes: got '1/0:2', expected SCALE:STAGES"),
        ("sizes", ("1/2:3",), "sizes: got '1/2:3', expected a share of dataset.size, 32, that is a multiple of 32"),
        ("sizes", ("2:3",), "sizes: got '2:3', expected a share of dataset.size, 32"),
        ("rows", 0.0, "rows: got 0.0, expected a whole number, or a share of all between 0 and 1"),
        ("rows", 10.5, "rows: got 10.5, expected a whole number"),
        ("rows", float("nan"), "rows: got nan, expected a whole number"),
        ("coreset", "best", "coreset: got 'best', expected one of random, k_center"),
        ("candidates", 0, "candidates: got 0, expected 1 or more"),
        ("projection", -1, "projection: got -1, expected 0 or more"),
        ("components", -1, "components: got -1, expected 0 or more"),
        ("neighbours", 0, "neighbours: got 0, expected 1 or more"),
        ("views", ("blur",), "views: got 'blur', expected one of augmix, degraded"),
        ("matched", (4,), "matched: got (4,), expected stages from 1 to 3"),
        ("last_alpha", 1.5, "last_alpha: got 1.5, expected 0 to 1"),
        ("score", "mean", "score: got 'mean', expected one of map, patches"),
    ],
)
def test_wrong_options(field, value, message):
    config = set_method(default_config(), "matched_bank")
    config.method.memory_bank[field] = value
    with pytest.raises(ValueError, match="^" + re.escape(f"method.memory_bank.{message}")):
        build_method(config, frozen=VARIABLES)


def test_wrong_options_of_other_groups():
    config = set_method(default_config(), "matched_bank")
    config.eval.alpha = 1.5
    with pytest.raises(ValueError, match=r"^eval\.alpha: got 1\.5, expected 0 to 1"):
        build_method(config, matching="efdm", frozen=VARIABLES)
    config = set_method(default_config(), "patchcore")
    config.dataset.size, config.method.memory_bank.sizes = 64, ("1:2", "1/2:3")
    with pytest.raises(ValueError, match=r"^method\.memory_bank\.score: got 'patches' with 2 sizes, expected 'map'"):
        build_method(config, frozen=VARIABLES)
    config = set_method(default_config(), "patchcore")
    config.teacher.arch = "vgg16"
    with pytest.raises(ValueError, match=r"^teacher\.arch: got 'vgg16', expected one of resnet18"):
        build_method(config, frozen=VARIABLES)


def test_wrong_options_that_only_the_images_show():
    with pytest.raises(ValueError, match=r"memory_bank\.components: got 13, expected at most 12, the channels"):
        fitted(make(ALL._replace(components=13)), GOOD)
    with pytest.raises(ValueError, match=r"eval\.anchors: got 6, expected 1 to 5, the number of training images"):
        fitted(make(ALL, Scoring("efdm", anchor="random", anchors=6)), GOOD)
