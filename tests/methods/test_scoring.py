"""Scoring: rows are independent, references are those of the chosen anchors, k of them are averaged."""

import functools

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gnl_jax.methods.drift import make_drift
from gnl_jax.methods.reverse_distillation import Model, init_state, torch_adam
from gnl_jax.methods.scoring import anchor_images, make_references, score_batch
from gnl_jax.nn.resnet import init_teacher
from gnl_jax.ops.matching import MATCHINGS
from gnl_jax.ops.scoremap import score_map

IMAGES = np.random.default_rng(0).integers(0, 256, (20, 32, 32, 3), dtype=np.uint8)


def preprocess(images):
    return jnp.asarray(images, jnp.float32) / 255


class TinyTeacher(nn.Module):
    """Three stages with the teacher's strides and hook, and next to nothing to compile."""

    @nn.compact
    def __call__(self, x, match=None):
        stages = []
        for k, stride in ((1, 4), (2, 2), (3, 2)):
            x = nn.relu(nn.Conv(4 * k, (stride, stride), strides=stride)(x))
            if match is not None and k < 3:
                x = match(k, x)
            stages.append(x)
        return tuple(stages)


class TinyStudent(nn.Module):
    @nn.compact
    def __call__(self, stages, valid=None):
        return stages[2], tuple(nn.Dense(s.shape[-1])(s) for s in stages)


TINY = Model(TinyTeacher(), TinyStudent())


@functools.cache
def tiny_variables():
    @jax.jit
    def init(key):
        stages, teacher = TINY.teacher.init_with_output(key, preprocess(IMAGES[:1]))
        return {"teacher": teacher, "student": TINY.student.init(key, stages)}

    return init(jax.random.key(0, impl="rbg"))


def features(images, match=None):
    return TINY.teacher.apply(tiny_variables()["teacher"], preprocess(images), match)


def references(**options):
    return make_references(tiny_variables()["teacher"], IMAGES, model=TINY, preprocess=preprocess, **options)


def brute_references(chosen):
    """Sorted features of each chosen image, one image and one stage at a time."""
    return [
        np.stack([np.sort(np.asarray(features(IMAGES[i : i + 1])[k]).reshape(-1, c), axis=0) for i in chosen])
        for k, c in ((0, 4), (1, 8))
    ]


@pytest.mark.parametrize(
    ("anchor", "k", "expected"),
    [("first", 1, [0]), ("first", 5, [0]), ("barycentre", 1, range(20)), ("random", 20, range(20))],
)
def test_anchor_images(anchor, k, expected):
    np.testing.assert_array_equal(anchor_images(20, anchor=anchor, k=k, seed=0), list(expected))


def test_random_anchors_follow_the_seed():
    draw = functools.partial(anchor_images, 1000, anchor="random", k=5)
    chosen = draw(seed=0)
    assert len(set(chosen)) == 5
    assert ((chosen >= 0) & (chosen < 1000)).all()
    np.testing.assert_array_equal(chosen, draw(seed=0))
    assert list(chosen) != list(draw(seed=1))


@pytest.mark.parametrize("k", [0, 21])
def test_more_random_anchors_than_images_are_refused(k):
    with pytest.raises(ValueError, match=f"eval.anchors: got {k}, expected 1 to 20"):
        anchor_images(20, anchor="random", k=k, seed=0)


def test_an_unknown_anchor_is_refused():
    with pytest.raises(ValueError, match=r"eval.anchor: got 'mean', expected one of first, random, barycentre"):
        references(anchor="mean")


@pytest.mark.parametrize(("anchor", "k"), [("first", 1), ("random", 3)])
def test_references_are_the_anchors_sorted_features(anchor, k):
    got = references(anchor=anchor, k=k, seed=4)
    expected = brute_references(anchor_images(20, anchor=anchor, k=k, seed=4))
    assert [r.shape for r in got] == [(k, 64, 4), (k, 16, 8)]
    for a, b in zip(got, expected, strict=True):
        np.testing.assert_allclose(a, b, atol=1e-6)


def test_the_barycentre_is_the_mean_of_the_sorted_features_of_all_images():
    got = references(anchor="barycentre")
    assert [(r.shape, r.dtype) for r in got] == [((1, 64, 4), jnp.float32), ((1, 16, 8), jnp.float32)]
    for a, b in zip(got, brute_references(range(20)), strict=True):
        np.testing.assert_allclose(a[0], b.mean(0), atol=1e-6)


def tiny_score(matching, references, alpha=0.5):
    variables = tiny_variables() | {"references": references, "alpha": jnp.float32(alpha)}
    score = functools.partial(score_batch, model=TINY, preprocess=preprocess, matching=matching)
    return jax.jit(score)(variables, IMAGES[:3])


@pytest.mark.slow
def test_without_matching_the_map_compares_teacher_and_student():
    stages = features(IMAGES[:3])
    _, decoded = TINY.student.apply(tiny_variables()["student"], stages)
    prediction = tiny_score("none", None)
    np.testing.assert_allclose(prediction.map, score_map(stages, decoded, size=(32, 32)), atol=1e-6)
    np.testing.assert_array_equal(prediction.score, prediction.map.max((1, 2)))


@pytest.mark.slow
@pytest.mark.parametrize("matching", MATCHINGS)
def test_matched_features_feed_the_student_and_are_its_target(matching):
    first = references(anchor="first")

    def match(stage, x):
        return MATCHINGS[matching](x, first[stage - 1][0], alpha=0.3)

    stages = features(IMAGES[:3], match)
    _, decoded = TINY.student.apply(tiny_variables()["student"], stages)
    got = tiny_score(matching, first, alpha=0.3).map
    np.testing.assert_allclose(got, score_map(stages, decoded, size=(32, 32)), atol=1e-6)
    assert np.abs(got - tiny_score("none", None).map).max() > 1e-4


def test_score_and_map_are_averaged_over_the_references():
    three = references(anchor="random", k=3)
    got = tiny_score("efdm", three)
    alone = [tiny_score("efdm", [r[i : i + 1] for r in three]) for i in range(3)]
    np.testing.assert_allclose(got.map, np.mean([a.map for a in alone], axis=0), atol=1e-6)
    np.testing.assert_allclose(got.score, np.mean([a.score for a in alone], axis=0), atol=1e-6)
    assert np.ptp([a.score for a in alone]) > 1e-4


def test_an_unknown_matching_is_refused():
    with pytest.raises(ValueError, match=r"eval.matching: got 'adain', expected one of none, efdm, mixstyle, both"):
        tiny_score("adain", references(anchor="first"))


@pytest.mark.slow
def test_a_row_depends_on_neither_its_neighbours_nor_the_size_of_the_batch():
    model = Model.create("resnet18")
    teacher = init_teacher(jax.random.key(0, impl="rbg"), "resnet18")
    state = init_state(jax.random.key(1, impl="rbg"), model=model, tx=torch_adam(1e-3, b1=0.5, b2=0.999), size=32)
    student = {"params": state.params, "batch_stats": state.batch_stats}
    variables = {"teacher": teacher, "student": student, "alpha": jnp.float32(0.5)}
    variables["references"] = make_references(teacher, IMAGES, model=model, preprocess=preprocess, anchor="first")
    score = jax.jit(functools.partial(score_batch, model=model, preprocess=preprocess, matching="efdm"))
    batch, other, alone = (score(variables, images) for images in (IMAGES[:4], IMAGES[[9, 1, 8, 7]], IMAGES[1:2]))
    assert batch.map.shape == (4, 32, 32)
    for row in (other, jax.tree.map(lambda x: np.repeat(x, 2, axis=0), alone)):
        np.testing.assert_allclose(row.map[1], batch.map[1], atol=1e-6)
        np.testing.assert_allclose(row.score[1], batch.score[1], atol=1e-6)
    assert abs(batch.score[0] - other.score[0]) > 1e-4


def region_of(columns):
    region = np.zeros((32, 32), bool)
    region[:, :columns] = True
    return region


@pytest.mark.parametrize("matching", ["none", "efdm"])
def test_outside_the_region_nothing_counts(matching):
    variables = tiny_variables() | {"region": region_of(20)}
    if matching != "none":
        variables |= {"references": references(anchor="barycentre"), "alpha": jnp.float32(0.5)}
    score = jax.jit(functools.partial(score_batch, model=TINY, preprocess=preprocess, matching=matching))
    inside, outside = IMAGES[:3].copy(), IMAGES[:3].copy()
    outside[:, :, 20:] ^= 255
    inside[:, :, 19] ^= 255
    plain = score(variables, IMAGES[:3])
    np.testing.assert_array_equal(plain.map, score(variables, outside).map)
    assert not np.asarray(plain.map)[:, :, 20:].any()
    assert (np.asarray(plain.score) != np.asarray(score(variables, inside).score)).all()
    np.testing.assert_array_equal(plain.score, plain.map.max((1, 2)))


@pytest.mark.parametrize(
    ("matching", "k"), [("none", 1), *(pytest.param("efdm", k, marks=pytest.mark.slow) for k in (1, 3))]
)
def test_drift_is_measured_before_matching_against_the_images_fitted_to(matching, k):
    matched = {} if matching == "none" else {"references": references(anchor="random", k=k), "alpha": jnp.float32(0.3)}
    drift = make_drift(
        tiny_variables()["teacher"], IMAGES, model=TINY, preprocess=preprocess, matching=matching, **matched
    )

    def seen(images, reference):
        """Features before matching, by the teacher's own hook."""
        found = {}

        def match(stage, x):
            found[stage] = np.sort(np.asarray(x, np.float64).reshape(len(x), -1, x.shape[-1]), axis=1)
            return x if reference is None else MATCHINGS[matching](x, reference[stage - 1], alpha=0.3)

        features(images, match)
        return [found[1][:, 3:61], found[2][:, 0:16]]  # 5 % and 95 % of 64 and of 16 ranks

    expected = []
    for i in range(k):
        reference = None if matching == "none" else [r[i] for r in matched["references"]]
        fit_to, tested = seen(IMAGES, reference), seen(IMAGES[:3], reference)
        per_stage = []
        for ranks, new in zip(fit_to, tested):
            barycentre = ranks.mean(0)
            spread = np.abs(ranks - barycentre).mean((0, 1))
            spread = np.maximum(spread, 1e-3 * spread.mean() + 1e-12)
            per_stage.append((np.abs(new - barycentre).mean(1) / spread).mean(1))
        expected.append(np.mean(per_stage, axis=0))
    score = functools.partial(score_batch, model=TINY, preprocess=preprocess, matching=matching)
    got = jax.jit(score)(tiny_variables() | matched | {"drift": drift}, IMAGES[:3])
    np.testing.assert_allclose(got.drift, np.mean(expected, axis=0), rtol=1e-4)
    without = jax.jit(score)(tiny_variables() | matched, IMAGES[:3])
    assert without.drift is None
    np.testing.assert_allclose(without.score, got.score, rtol=1e-6)


@pytest.mark.parametrize(("size", "n", "at_once"), [(32, 20, 16), (32, 3, 3), (512, 6, 4)])
def test_passes_have_one_shape_and_as_many_pixels_as_sixteen_images_of_256(size, n, at_once):
    class Source:
        def __len__(self):
            return n

        def __getitem__(self, indices):
            asked.append(len(indices))
            return np.resize(IMAGES[indices], (len(indices), size, size, 3))

    for make in (functools.partial(make_references, anchor="barycentre"), make_drift):
        asked = []
        make(tiny_variables()["teacher"], Source(), model=TINY, preprocess=preprocess)
        assert asked[0] == 1  # tells the size
        assert set(asked[1:]) == {at_once}


def test_the_drift_of_one_image_is_refused():
    with pytest.raises(ValueError, match="images: got 1, expected at least 2"):
        make_drift(tiny_variables()["teacher"], IMAGES[:1], model=TINY, preprocess=preprocess)
