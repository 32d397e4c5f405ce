"""f-AnoGAN: the encoder's step and the score against NumPy, its configuration, and both phases on real digits."""

import itertools
import re

import jax
import jax.numpy as jnp
import numpy as np
import numpy_gan
import optax
import pytest
from numpy_gan import random_variables
from PIL import Image

from gnl_jax.config import default_config, set_method
from gnl_jax.data.digits import digits_task
from gnl_jax.data.feed import make_schedule
from gnl_jax.evaluation.metrics import auroc
from gnl_jax.methods.f_anogan import (
    EncoderState,
    build_f_anogan,
    encoder_step,
    mirror,
    preprocess,
    score_batch,
)
from gnl_jax.methods.wgan_gp import Learner
from gnl_jax.nn.gan import NETWORKS

RNG = np.random.default_rng(0)
ADAM = optax.adam(1e-3, b1=0.5, b2=0.999, eps=1e-8)
DENSE = NETWORKS["dense"](28, epsilon=0.8, dtype=jnp.float64)
GENERATOR, CRITIC, ENCODER = random_variables(NETWORKS["dense"](28, epsilon=0.8))
IMAGES = RNG.integers(0, 256, (5, 28, 28, 3), np.uint8)
VALID = np.array([True, True, False, True, False])
KAPPA = 0.7


def numpy_distances(x):
    """Squared errors of pixels and features, from the layer lists."""
    trunk = numpy_gan.dense_trunk(ENCODER["params"]["trunk"], x)
    z = np.tanh(numpy_gan.linear(ENCODER["params"]["head"], trunk))
    reconstruction = numpy_gan.dense_generator(GENERATOR, z, 0.8)
    features, reconstructed = (numpy_gan.dense_trunk(CRITIC["params"]["trunk"], y) for y in (x, reconstruction))
    return (reconstruction - x) ** 2, (reconstructed - features) ** 2


def scaled(images):
    """Pillow's grey images in [-1, 1], float64 [b 28 28 1]."""
    grey = np.stack([np.asarray(Image.fromarray(image).convert("L")) for image in images])
    return ((grey / 255 - 0.5) / 0.5)[..., None]


def test_preprocessing_scales_and_for_dense_networks_greys_as_pillow():
    np.testing.assert_allclose(
        preprocess(IMAGES, networks=NETWORKS["dense"](28, epsilon=0.8)), scaled(IMAGES), atol=1e-6
    )
    colour = preprocess(IMAGES, networks=NETWORKS["convolutional"](32, epsilon=0.8))
    assert colour.dtype == jnp.float32
    np.testing.assert_allclose(colour, IMAGES / 127.5 - 1, atol=1e-6)


def test_score_and_map_are_those_of_numpy():
    variables = {"generator": GENERATOR, "critic": CRITIC, "encoder": ENCODER}
    with jax.enable_x64(True):
        score, maps, _ = jax.jit(lambda v, x: score_batch(v, x, networks=DENSE, feature_weight=KAPPA))(
            variables, IMAGES
        )
    pixels, features = numpy_distances(scaled(IMAGES))
    np.testing.assert_allclose(score, pixels.mean((1, 2, 3)) + KAPPA * features.mean(1), rtol=1e-10)
    np.testing.assert_allclose(maps, pixels[..., 0], rtol=1e-8, atol=1e-12)


@pytest.fixture(scope="module")
def encode():
    """One step of the dense encoder in float64: the state before, and (images, valid) -> (the state after, metrics)."""
    zeros = jax.tree.map(np.zeros_like, ENCODER["params"])
    adam = (optax.ScaleByAdamState(np.int32(0), zeros, zeros), optax.EmptyState())
    state = EncoderState(np.int32(0), GENERATOR, CRITIC, Learner(ENCODER["params"], {}, adam))

    @jax.jit
    def step(state, x, valid):
        options = {"networks": DENSE, "tx": ADAM, "feature_weight": KAPPA}
        return encoder_step(jax.random.key(0), state, x, valid, **options)

    def run(x, valid):
        with jax.enable_x64(True):
            return jax.device_get(step(state, x, valid))

    return state, run


@pytest.fixture(scope="module")
def stepped(encode):
    """The state before, and the step on five rows of which three are valid."""
    state, run = encode
    return state, run(scaled(IMAGES), VALID)


def test_encoder_loss_is_that_of_numpy(stepped):
    _, (_, metrics) = stepped
    pixels, features = numpy_distances(scaled(IMAGES)[VALID])
    wanted = {"loss": pixels.mean() + KAPPA * features.mean(), "image": pixels.mean(), "feature": features.mean()}
    assert metrics.keys() == wanted.keys()
    for name, value in wanted.items():
        np.testing.assert_allclose(metrics[name], value, rtol=1e-10)


def test_the_encoder_alone_is_trained(stepped):
    before, (after, _) = stepped
    assert after.step == 1
    jax.tree.map(np.testing.assert_array_equal, (after.generator, after.critic), (before.generator, before.critic))
    for a, b in zip(*map(jax.tree.leaves, (after.encoder.params, before.encoder.params)), strict=True):
        # Adam's first step is the learning rate, for all but the smallest gradients.
        assert np.median(np.abs(a - b)) == pytest.approx(1e-3, rel=1e-3)


@pytest.mark.slow
def test_padded_batches_train_as_unpadded_ones(encode, stepped):
    def check(path, a, b):
        assert np.linalg.norm(a - b) <= 1e-8 * np.linalg.norm(b), jax.tree_util.keystr(path)

    unpadded = encode[1](scaled(IMAGES)[VALID], VALID[VALID])
    jax.tree_util.tree_map_with_path(check, stepped[1], unpadded)


def test_mirroring():
    images = np.float32(RNG.uniform(-1, 1, (200, 2, 4, 1)))

    @jax.jit
    def run(key):
        return mirror(key, images), mirror(key, images[:9])

    (got, first), (other, _) = (run(jax.random.key(seed)) for seed in (0, 1))
    mirrored, same = ((got == wanted).all((1, 2, 3)) for wanted in (images[:, :, ::-1], images))
    assert (mirrored ^ same).all()
    assert 70 < mirrored.sum() < 130
    np.testing.assert_array_equal(first, got[:9])
    assert not np.array_equal(other, got)


# From a configuration


def make_config(like="mnist", **fields):
    config = set_method(default_config(), "f_anogan", like=like)
    config.update_from_flattened_dict(fields)
    return config


@pytest.mark.parametrize(
    ("like", "size", "epochs", "batch", "min_valid"),
    [("mnist", 28, 200, 64, 2), ("cifar10", 32, 200, 64, 1), ("mvtec", 64, 300, 32, 1)],
)
def test_published_settings_build(like, size, epochs, batch, min_valid):
    method = build_f_anogan(make_config(like))
    assert method.name == "f_anogan"
    assert method.frozen == {}
    first, second = method.phases
    assert (first.name, first.epochs, first.batch_size, first.min_valid) == ("wgan_gp", epochs, batch, min_valid)
    assert (second.name, second.epochs, second.batch_size, second.min_valid) == ("encoder", 200, batch, 1)
    images = np.zeros((101, size, size, 3), np.uint8)
    alone = jax.eval_shape(lambda: second.init(jax.random.key(0), None, images))
    gan = jax.eval_shape(lambda: first.init(jax.random.key(0), None, images))
    after = jax.eval_shape(lambda gan: second.init(jax.random.key(0), gan, images), gan)
    assert alone == after
    variables = jax.eval_shape(lambda state: method.finish({}, state, images), alone)
    batch = jax.ShapeDtypeStruct((4, size, size, 3), jnp.uint8)
    score, maps, drift = jax.eval_shape(method.score_batch, variables, batch)
    assert (score.shape, score.dtype, maps.shape, maps.dtype) == ((4,), jnp.float32, (4, size, size), jnp.float32)
    assert drift is None


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("network", "deep", "method.f_anogan.network: got 'deep', expected one of dense, convolutional"),
        (
            "batch_norm_epsilon",
            "0.8",
            "method.f_anogan.batch_norm_epsilon: got '0.8', expected one of published, torch",
        ),
        ("encoder_epochs", 0, "method.f_anogan.encoder_epochs: got 0, expected 1 or more"),
        ("critic_steps", 0, "method.f_anogan.critic_steps: got 0, expected 1 or more"),
        ("gradient_penalty", -1.0, "method.f_anogan.gradient_penalty: got -1.0, expected 0 or more"),
        ("feature_weight", float("nan"), "method.f_anogan.feature_weight: got nan, expected 0 or more"),
    ],
)
def test_wrong_fields(field, value, message):
    with pytest.raises(ValueError, match="^" + re.escape(message)):
        build_f_anogan(make_config(**{f"method.f_anogan.{field}": value}))


def test_wrong_size_and_precision():
    with pytest.raises(ValueError, match=r"^dataset.size: got 32, expected 28"):
        build_f_anogan(make_config(**{"dataset.size": 32}))
    with pytest.raises(ValueError, match=r"^precision: got 'half', expected one of float32"):
        build_f_anogan(make_config(precision="half"))


@pytest.mark.parametrize("flip", [True, False])
def test_images_are_mirrored_in_both_phases_if_wanted_but_never_for_a_score(monkeypatch, flip):
    traced = []

    def record(key, images):
        traced.append(images.shape)
        return mirror(key, images)

    monkeypatch.setattr("gnl_jax.methods.f_anogan.mirror", record)
    method = build_f_anogan(make_config(**{"method.f_anogan.flip": flip}))
    state = None
    for phase in method.phases:
        state = jax.eval_shape(lambda state, phase=phase: phase.init(jax.random.key(0), state, IMAGES), state)
        jax.eval_shape(phase.step, jax.random.key(0), state, {}, IMAGES, VALID, None)
        assert traced == [(5, 28, 28, 1)] * flip
        traced.clear()
    jax.eval_shape(method.score_batch, method.finish({}, state, IMAGES), IMAGES)
    assert traced == []


@pytest.mark.slow
def test_convolutional_encoder_steps():
    """The second phase alone, from a configuration; tests of the first one's step are in test_wgan_gp.py."""
    config = make_config("cifar10", **{"method.f_anogan.flip": True})
    _, phase = build_f_anogan(config).phases
    generator, critic, encoder = jax.tree.map(np.float32, random_variables(NETWORKS["convolutional"](32, epsilon=0.8)))
    adam = jax.device_get(ADAM.init(jax.tree.map(np.zeros_like, encoder["params"])))
    state = EncoderState(np.int32(0), generator, critic, Learner(encoder["params"], encoder["batch_stats"], adam))
    images = RNG.integers(0, 256, (4, 32, 32, 3), np.uint8)
    step = jax.jit(phase.step)
    after, metrics = step(jax.random.key(0), state, {}, images, np.ones(4, bool), None)
    assert after.step == 1
    assert np.isfinite(jax.tree.leaves(metrics)).all()
    for a, b in zip(*(jax.tree.leaves(s.encoder.batch_stats) for s in (state, after)), strict=True):
        assert not np.array_equal(a, b)
    filled, _ = step(jax.random.key(0), state, {}, images, np.arange(4) < 3, None)
    images[3] = 0
    refilled, _ = step(jax.random.key(0), state, {}, images, np.arange(4) < 3, None)
    jax.tree.map(np.testing.assert_array_equal, filled, refilled)


@pytest.mark.slow
def test_digits_that_are_no_sixes_are_found():
    """Both phases, 50 and 20 steps on sixes; by an untrained state they are found as by chance (AUROC 0.49)."""
    fields = {"train.learning_rate": 1e-3, "train.batch_size": 32, "method.f_anogan.feature_weight": 0.1}
    method = build_f_anogan(make_config(**fields))
    task = digits_task("6", size=28)
    first, second = method.phases
    schedule = make_schedule(len(task.train), batch_size=32, seed=0, min_valid=2)

    def train(phase, state, steps):
        state = phase.init(jax.random.key(0, impl="rbg"), state, task.train)
        step, history = jax.jit(phase.step), []
        for indices, valid in itertools.islice(schedule.batches(0), steps):
            state, metrics = step(jax.random.key(0), state, method.frozen, task.train[indices], valid, None)
            history.append({name: float(value) for name, value in metrics.items()})
        assert np.isfinite([list(metrics.values()) for metrics in history]).all()
        return state, history

    gan, history = train(first, None, 50)
    turns = sum(i % schedule.steps_per_epoch % 5 == 0 for i in range(50))
    assert (gan.critic.opt_state[0].count, gan.generator.opt_state[0].count) == (50, turns)
    for metrics in history:
        wanted = -metrics["real"] + metrics["fake"] + 10 * metrics["penalty"]
        assert metrics["loss"] == pytest.approx(wanted, rel=1e-4, abs=1e-4)
    state, history = train(second, gan, 20)
    losses = [metrics["loss"] for metrics in history]
    assert losses[-1] < 0.9 * losses[0]
    jax.tree.map(np.testing.assert_array_equal, state.generator, gan.generator.variables)
    jax.tree.map(np.testing.assert_array_equal, state.critic, gan.critic.variables)
    test = task.tests["id"]()
    score = jax.jit(method.score_batch)(method.finish(method.frozen, state, task.train), test.images).score
    assert auroc(np.asarray(score), test.anomalous) > 0.9
