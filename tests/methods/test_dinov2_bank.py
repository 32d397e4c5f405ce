"""A memory bank of DINOv2's tokens: NumPy's numbers from the network's own, matching, class tokens, what is refused."""

import functools

import jax
import numpy as np
import pytest
from small_banks import fitted, pictures, score
from tiny_dinov2 import ARCH, SIZES, TEACHER, tiny_dinov2

from gnl_jax.config import default_config, set_method
from gnl_jax.images.views import normalise
from gnl_jax.methods.bank_method import bank_method, bank_options
from gnl_jax.methods.bank_options import parse_sizes
from gnl_jax.methods.build import build_method
from gnl_jax.methods.scoring import Scoring
from gnl_jax.nn.teachers import TEACHERS, teacher_record
from gnl_jax.ops.nearest import top_mean
from gnl_jax.ops.patches import distance_map

SIDE = 56  # a grid of 4x4
GOOD, TEST = pictures(4, size=SIDE), pictures(2, seed=1, size=SIDE)
TEST[1, 28:42, 14:28] = (250, 20, 250)
VARIABLES = TEACHER.init(jax.random.key(2))
MATCHED = Scoring("efdm", alpha=0.5, anchor="barycentre")


def options(**changes):
    config = set_method(default_config(), "dinov2_bank", like="mvtec").method.memory_bank
    config.update(changes)
    return bank_options(config, TEACHER, size=SIDE)


def make(scoring=Scoring(), **changes):
    return bank_method(TEACHER.module, VARIABLES, options=options(**changes), scoring=scoring)


@functools.cache
def network(method):
    return jax.jit(functools.partial(TEACHER.module.apply, method=method))


def tokens(images, block=SIZES.blocks, method=None):
    found = network(method)(VARIABLES, normalise(images, kind="imagenet"))[block - 1]
    return np.asarray(found, np.float64).reshape(len(images), -1, SIZES.width)


def unit(x):
    return x / np.linalg.norm(x, axis=-1, keepdims=True)


def cosine_distances(test, good):
    """[b n] of tokens [b n c] to the nearest of all [m n c]."""
    return 1 - (unit(test) @ unit(good).reshape(-1, good.shape[-1]).T).max(-1)


@pytest.mark.slow
def test_scores_are_those_of_the_published_few_shot_detector():
    """Cosine distance of the last tokens to the nearest; the score is the mean of the top 1 %, here the largest."""
    method = make()
    variables = fitted(method, GOOD)
    assert variables["banks"]["0"]["rows"].shape == (4 * 16, SIZES.width)  # all there are
    found, expected = score(method, variables, TEST), cosine_distances(tokens(TEST), tokens(GOOD))
    np.testing.assert_allclose(found.score, expected.max(1), rtol=1e-3)
    maps = distance_map(expected.reshape(2, 4, 4).astype(np.float32), size=(SIDE, SIDE))
    np.testing.assert_allclose(found.map, maps, rtol=1e-3)
    assert found.score[1] > 2 * found.score[0]
    np.testing.assert_allclose(score(method, variables, GOOD).score, 0, atol=1e-6)


@pytest.mark.parametrize("n", [99, 100, 1024])
def test_the_mean_of_the_top_hundredth(n):
    distances = np.random.default_rng(n).gamma(1, 1, (3, n)).astype(np.float32)
    largest = np.sort(distances)[:, ::-1][:, : max(1, int(n * 0.01))]
    np.testing.assert_allclose(top_mean(distances), largest.mean(1), rtol=1e-6)


@pytest.mark.slow
def test_tokens_of_several_blocks_and_other_distances():
    """Euclidean distances of two blocks' tokens, as they are and of length 1."""
    for distance, prepared in (("euclidean", lambda x: x), ("unit", unit)):
        method = make(sizes=("1:1+last",), distance=distance)
        good, test = (
            prepared(np.concatenate([tokens(images, block) for block in (1, SIZES.blocks)], -1))
            for images in (GOOD, TEST)
        )
        away = np.linalg.norm(test[:, :, None] - good.reshape(1, 1, -1, 2 * SIZES.width), axis=-1).min(-1)
        np.testing.assert_allclose(score(method, fitted(method, GOOD), TEST).score, away.max(1), rtol=1e-4)


@pytest.mark.slow
def test_matching_after_a_block():
    """Both sides see block 1's tokens with the mean of the good images' sorted ones; drift is measured before."""
    plain, matched = make(matched=(1,)), make(MATCHED, matched=(1,))
    variables = fitted(matched, GOOD)
    reference = np.sort(tokens(GOOD, 1), axis=1).mean(0)
    np.testing.assert_allclose(variables["banks"]["0"]["references"]["1"], reference, rtol=1e-4, atol=1e-5)
    assert variables["banks"]["0"]["references"].keys() == {"1"}
    assert variables["drift"]["barycentre"].keys() == {str(block) for block in TEACHER.drift}
    found, unmatched = score(matched, variables, TEST), score(plain, fitted(plain, GOOD), TEST)
    assert not np.allclose(found.score, unmatched.score, rtol=0.02)
    np.testing.assert_allclose(found.drift, unmatched.drift, rtol=1e-4)  # block 1 is seen before it is matched
    assert found.drift[1] > found.drift[0]


@pytest.mark.slow
def test_whole_images_by_their_class_token():
    method = make(embedding="class", score="map")
    found = score(method, fitted(method, GOOD), TEST)
    assert found.map is None
    classes = [tokens(images, method="classes") for images in (TEST, GOOD)]
    np.testing.assert_allclose(found.score, cosine_distances(*classes)[:, 0], rtol=1e-2, atol=1e-6)
    assert found.score.argmax() == 1
    assert found.drift.shape == (2,)


def test_named_configurations():
    for name, like, size in (("dinov2_bank", "mvtec", 448), ("dinov2_image_bank", "mnist", 224)):
        config = set_method(default_config(), name, like=like)
        assert (config.teacher.arch, config.dataset.size, config.eval.anchor) == ("dinov2_vits14", size, "barycentre")
        found = bank_options(config.method.memory_bank, teacher_record(config.teacher.arch), size=size)
        assert (found.sizes[0].stages, found.drift, found.distance) == ((12,), (3, 6), "cosine")
    large = TEACHERS["dinov2_vitl14"]
    assert parse_sizes(["1:last"], size=448, stages=len(large.strides), multiple=14)[0].stages == (24,)


@pytest.mark.parametrize(
    ("method", "fields", "message"),
    [
        (
            "gnl",
            {},
            "teacher.arch: got 'dinov2_tiny', expected one of resnet18, resnet50, wide_resnet50_2 for method 'gnl'",
        ),
        ("dinov2_bank", {"dataset.size": 256}, "dataset.size: got 256, expected a multiple of 14 for dinov2_tiny"),
        (
            "dinov2_bank",
            {"precision": "bfloat16"},
            "precision: got 'bfloat16', expected 'float32' or 'tf32' for dinov2",
        ),
        (
            "dinov2_bank",
            {"sizes": ("1:4",)},
            "sizes: got '1:4', expected stages from 1 to 3: the teacher has no others",
        ),
        (
            "dinov2_bank",
            {"sizes": ("1/3:2",)},
            "sizes: got '1/3:2', expected a share .* that is a multiple of 14 pixels",
        ),
        ("dinov2_bank", {"matched": (4,)}, r"matched: got \(4,\), expected stages from 1 to 3"),
        ("dinov2_bank", {"sizes": ("1:2", "1:3")}, "score: got 'top' with 2 sizes, expected 'map'"),
        ("dinov2_bank", {"embedding": "class"}, "score: got 'top' with class images, expected 'map'"),
        ("dinov2_bank", {"teacher.arch": "resnet18"}, "embedding: got 'tokens', expected 'patches': .* differ in size"),
        (
            "dinov2_image_bank",
            {"teacher.arch": "resnet18"},
            "embedding: got 'class', expected another: .* no class token",
        ),
        ("dinov2_image_bank", {"matched": (3,)}, r"matched: got \(3,\) with the class token, expected stages before 3"),
        ("dinov2_image_bank", {"last_alpha": 0.5}, "last_alpha: got 0.5 with the class token, expected 1, the default"),
        ("kdad", {"dataset.size": 448}, "teacher.arch: got 'dinov2_tiny', expected one of vgg16 for method 'kdad'"),
    ],
)
def test_what_is_refused(method, fields, message):
    config = set_method(default_config(), method, like="mvtec")
    config.dataset.size, config.teacher.arch = 448, ARCH
    for field, value in fields.items():
        config.update_from_flattened_dict(
            {field if "." in field or field == "precision" else f"method.memory_bank.{field}": value}
        )
    with tiny_dinov2(), pytest.raises(ValueError, match=message):
        build_method(config, frozen=VARIABLES)
