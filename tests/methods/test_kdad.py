"""KDAD: losses and scores against NumPy, what a training step may depend on, and training on real digits."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gnl_jax.config import default_config, set_method
from gnl_jax.data.digits import digits_task
from gnl_jax.images.views import normalise
from gnl_jax.methods.kdad import (
    KdadNetworks,
    build_kdad,
    init_cloner,
    kdad_step,
    score_batch,
    source_taps,
    tap_distance,
)
from gnl_jax.methods.reverse_distillation import torch_adam
from gnl_jax.nn.vgg import Cloner, Source

KEY = jax.random.key(0, impl="rbg")
WEIGHT = 0.3
ADAM = torch_adam(1e-3, b1=0.9, b2=0.999)
# Narrow networks in float64.
MODEL = KdadNetworks(
    Source(((4,), (6,), (8,), (8,), (8,))),
    Cloner(((3, 3), (6,), (3, 8), (8,), (8,))),
    functools.partial(normalise, kind="imagenet"),
    jnp.dtype("float64"),
)
IMAGES = np.random.default_rng(0).integers(0, 256, (6, 32, 32, 3), dtype=np.uint8)
VALID = np.array([True, True, False, True, False, True])
STEP = jax.jit(functools.partial(kdad_step, model=MODEL, tx=ADAM, mse_weight=WEIGHT))
TAPS = jax.jit(functools.partial(source_taps, model=MODEL))


def in_float64(function):
    def call(*arguments, **named):
        with jax.enable_x64(True):
            return jax.device_get(function(*arguments, **named))

    return call


@functools.cache
def start():
    """The source's variables and a fresh cloner in float64."""
    source = jax.jit(MODEL.source.init)(KEY, jnp.zeros((1, 32, 32, 3)))
    state = jax.jit(functools.partial(init_cloner, model=MODEL, tx=ADAM))(KEY)
    widen = {np.dtype("float32"): np.float64}
    return jax.tree.map(lambda leaf: np.asarray(leaf, widen.get(leaf.dtype)), (source, state))


def by_hand(source, cloner):
    """[1 - cos + weight * MSE] summed over the taps, one number per image."""
    scores = []
    for b in range(len(source[0])):
        score = 0.0
        for x, y in zip(source, cloner):
            p, q = np.float64(x[b]).ravel(), np.float64(y[b]).ravel()
            score += 1 - p @ q / np.sqrt((p @ p) * (q @ q)) + WEIGHT * np.mean((p - q) ** 2)
        scores.append(score)
    return np.array(scores)


def random_taps(seed, n=6):
    rng = np.random.default_rng(seed)
    return tuple(rng.standard_normal((n, s, s, c)) + 0.2 for s, c in ((8, 6), (4, 8), (2, 8), (1, 8)))


def assert_close(a, b):
    def check(path, a, b):
        assert np.linalg.norm(a - b) <= 1e-8 * np.linalg.norm(b), jax.tree_util.keystr(path)

    jax.tree_util.tree_map_with_path(check, a, b)


def test_distance_of_taps():
    source, cloner = random_taps(1), random_taps(2)
    got = in_float64(tap_distance)(source, cloner, mse_weight=WEIGHT)
    np.testing.assert_allclose(got, by_hand(source, cloner), rtol=1e-12)
    narrow = tap_distance(*jax.tree.map(lambda tap: jnp.asarray(tap, jnp.bfloat16), (source, cloner)), mse_weight=1.0)
    assert narrow.dtype == jnp.float32


@pytest.mark.slow
def test_loss_is_the_mean_over_valid_rows_of_all_four_taps():
    """With any features: those given are what is imitated."""
    source, state = start()
    features = random_taps(3)
    _, metrics = in_float64(STEP)(state, IMAGES, VALID, features, source=source)
    variables = {"params": state.params, "batch_stats": state.batch_stats}

    def cloned(images, valid):
        return MODEL.cloner.apply(variables, MODEL.inputs(images), valid, mutable=["statistics"])[0]

    taps = in_float64(jax.jit(cloned))(IMAGES[VALID], np.ones(4, bool))
    expected = by_hand([tap[VALID] for tap in features], taps).mean()
    np.testing.assert_allclose(metrics["loss"], expected, rtol=1e-8)


@pytest.mark.slow
def test_features_computed_before_or_in_the_step_train_alike():
    source, state = start()
    features = in_float64(TAPS)(source, IMAGES)
    assert [tap.shape for tap in features] == [tap.shape for tap in random_taps(0)]
    assert_close(
        in_float64(STEP)(state, IMAGES, VALID, features, source=source),
        in_float64(STEP)(state, IMAGES, VALID, None, source=source),
    )


def three_steps(images):
    (source, state), losses = start(), []
    for _ in range(3):
        state, metrics = in_float64(STEP)(state, images, VALID, None, source=source)
        losses.append(metrics["loss"])
    return state, losses


@pytest.mark.slow
def test_rows_that_are_not_valid_change_nothing():
    """Not a bit; that valid rows are counted right is seen in the loss and in the statistics."""
    state, losses = three_steps(IMAGES)
    other = np.where(VALID[:, None, None, None], IMAGES, 255 - IMAGES[::-1])
    jax.tree.map(np.testing.assert_array_equal, three_steps(other), (state, losses))
    assert state.step == 3
    assert losses[2] < losses[0]


@pytest.mark.slow
def test_running_statistics_move_by_a_tenth_to_those_of_the_batch():
    source, state = start()
    new, _ = in_float64(STEP)(state, IMAGES, VALID, None, source=source)
    kernel = state.params["conv1_0"]["kernel"]
    with jax.enable_x64(True):
        x = MODEL.inputs(IMAGES[VALID])
        y = jax.lax.conv_general_dilated(
            x, kernel.astype(x.dtype), (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC")
        )
    y = np.asarray(y).reshape(-1, 3)
    np.testing.assert_allclose(new.batch_stats["bn1_0"]["mean"], 0.1 * y.mean(0), rtol=1e-6)
    np.testing.assert_allclose(new.batch_stats["bn1_0"]["var"], 0.9 + 0.1 * y.var(0, ddof=1), rtol=1e-6)


def test_no_gradient_reaches_the_source():
    source, state = start()

    def loss(source, features):
        return kdad_step(state, IMAGES, VALID, features, model=MODEL, tx=ADAM, source=source, mse_weight=1.0)[1]["loss"]

    with jax.enable_x64(True):
        gradients = (
            jax.jit(jax.grad(functools.partial(loss, features=None)))(source),
            jax.jit(jax.grad(functools.partial(loss, source)))(random_taps(4)),
        )
    assert not any(np.any(leaf) for leaf in jax.tree.leaves(gradients))


def test_score_is_the_distance_of_the_three_deepest_taps():
    source, _ = start()
    state, _ = three_steps(IMAGES)
    student = {"params": state.params, "batch_stats": state.batch_stats}
    score = in_float64(jax.jit(functools.partial(score_batch, model=MODEL, mse_weight=WEIGHT)))
    prediction = score({"teacher": source, "student": student}, IMAGES)
    taps = in_float64(jax.jit(lambda images: MODEL.cloner.apply(student, MODEL.inputs(images))))(IMAGES)
    expected = by_hand(in_float64(TAPS)(source, IMAGES)[1:], taps[1:])
    np.testing.assert_allclose(prediction.score, expected, rtol=1e-8)
    assert (prediction.map, prediction.drift) == (None, None)


def kdad_config(**changes):
    config = set_method(default_config(), "kdad", like="mnist")
    config.update_from_flattened_dict({"teacher.weights": "random"} | changes)
    return config


@pytest.mark.slow
def test_trains_on_digits(monkeypatch):
    """A whole method on real digits, narrow; the source is random, and looked at once for each image."""
    images, task = digits_task("3", limit_train=16).train, digits_task("3", limit_test=4, shifts=())
    monkeypatch.setattr("gnl_jax.methods.kdad.Source", lambda: MODEL.source)
    monkeypatch.setattr("gnl_jax.methods.kdad.Cloner", lambda: MODEL.cloner)
    frozen = jax.tree.map(np.float32, start()[0])
    method = build_kdad(kdad_config(**{"train.learning_rate": 1e-2}), frozen=frozen)
    (phase,) = method.phases
    assert (phase.name, phase.epochs, phase.batch_size, phase.min_valid) == ("distillation", 52, 64, 1)
    features = jax.jit(phase.precompute)(method.frozen, images)
    assert [tap.shape for tap in features] == [(16, 8, 8, 6), (16, 4, 4, 8), (16, 2, 2, 8), (16, 1, 1, 8)]
    state = phase.init(KEY, None, images)
    expected = jax.eval_shape(lambda: phase.init(jax.random.key(0), None, images))
    assert jax.tree.map(jnp.shape, state) == jax.tree.map(jnp.shape, expected)
    step, losses = jax.jit(phase.step), []
    for _ in range(12):
        state, metrics = step(KEY, state, method.frozen, images, np.ones(16, bool), features)
        losses.append(float(metrics["loss"]))
    assert losses[-1] < 0.8 * losses[0]
    variables = method.finish(method.frozen, state, images)
    prediction = jax.jit(method.score_batch)(variables, task.load_test("id").images)
    assert prediction.score.shape == (4,)
    assert np.all(prediction.score > 0)
    assert (method.name, prediction.map) == ("kdad", None)


def test_fields_reach_their_places(monkeypatch):
    made = build_kdad(kdad_config(**{"train.epochs": 7, "train.batch_size": 3}), frozen={"params": {}})
    assert [(phase.epochs, phase.batch_size) for phase in made.phases] == [(7, 3)]
    assert made.frozen == {"params": {}}
    loaded = []
    monkeypatch.setattr("gnl_jax.methods.kdad.load_teacher", lambda *a, **k: loaded.append((a, k)))
    build_kdad(kdad_config(**{"teacher.weights": "imagenet", "teacher.seed": 5}))
    assert loaded == [(("vgg16", "imagenet"), {"seed": 5})]


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("teacher.arch", "resnet18", r"teacher\.arch: got 'resnet18', expected 'vgg16'"),
        ("dataset.size", 28, r"dataset\.size: got 28, expected a positive multiple of 32"),
        ("dataset.size", 0, r"dataset\.size: got 0"),
        ("method.kdad.mse_weight", -0.1, r"method\.kdad\.mse_weight: got -0\.1, expected 0 or more"),
        ("method.kdad.mse_weight", float("nan"), r"method\.kdad\.mse_weight: got nan"),
        ("method.normalise", "grey", r"method\.normalise: got 'grey', expected one of imagenet, none"),
        ("precision", "fp8", "precision: got 'fp8'"),
    ],
)
def test_fields_without_a_meaning(field, value, message):
    """`teacher.weights` names no file here: the fields come first."""
    with pytest.raises(ValueError, match=message):
        build_kdad(kdad_config(**{field: value, "teacher.weights": "/no/such.safetensors"}))
