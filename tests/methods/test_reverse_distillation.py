"""The training step: what it may depend on; fast forms and padding change nothing (a small ResNet at 32 pixels)."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax
from run_folders import small_architecture

import gnl_jax.nn.layers
from gnl_jax.methods.fixed_views import ViewSplit, fixed_features
from gnl_jax.methods.losses import LossWeights
from gnl_jax.methods.reverse_distillation import Model, init_state, teacher_stages, torch_adam, train_step
from gnl_jax.nn.resnet import init_teacher

IMAGES = np.random.default_rng(0).integers(0, 256, (16, 32, 32, 3), dtype=np.uint8)
VALID = np.arange(16) < 11
pytestmark = pytest.mark.usefixtures("small_network")
with small_architecture():
    MODEL = Model.create("resnet10", jnp.dtype("float64"))
ADAM = torch_adam(0.005, b1=0.5, b2=0.999)


def noisy_views(key, images):
    """The images and two noisy versions; the noise of an image follows from the key and its position."""
    keys = jax.vmap(functools.partial(jax.random.fold_in, key))(jnp.arange(len(images)))
    noise = jax.vmap(lambda key: jax.random.normal(key, (2, *images.shape[1:])))(keys)
    clean = jnp.asarray(images) / 127.5 - 1.0
    return jnp.concatenate([clean[None], clean[None] + jnp.moveaxis(noise, 1, 0)])


def compile_step(jit):
    """The training step in float64."""

    def step(key, state, images, valid, teacher):
        return train_step(
            key,
            state,
            images,
            valid,
            model=MODEL,
            tx=ADAM,
            teacher=teacher,
            make_views=noisy_views,
            loss_weights=LossWeights(),
        )

    compiled = jit(step)

    def call(*arguments):
        with jax.enable_x64(True):
            return jax.device_get(compiled(*arguments))

    return call


@functools.cache
def start():
    """Teacher and fresh state in float64."""
    teacher = init_teacher(jax.random.key(1, impl="rbg"), "resnet10")  # this generator compiles in a third of the time
    state = init_state(jax.random.key(2, impl="rbg"), model=MODEL, tx=ADAM, size=32)
    return jax.tree.map(lambda x: np.float64(x) if x.dtype == jnp.float32 else np.asarray(x), (teacher, state))


def three_steps(step, images, valid):
    teacher, state = start()
    history = []
    for _ in range(3):
        state, metrics = step(jax.random.key(0), state, images, valid, teacher)
        history.append(metrics)
    return state, history


@pytest.fixture(scope="module")
def step():
    return compile_step(jax.jit)


@pytest.fixture(scope="module")
def padded(step):
    """Three steps on 16 rows, 11 of them valid."""
    return three_steps(step, IMAGES, VALID)


def assert_same_training(a, b):
    """Losses, parameters, statistics and moments within 1e-8, array by array."""

    def check(path, a, b):
        assert np.linalg.norm(a - b) <= 1e-8 * np.linalg.norm(b), jax.tree_util.keystr(path)

    jax.tree_util.tree_map_with_path(check, a, b)


@pytest.mark.slow
def test_padded_batches_train_as_unpadded_ones(step, padded):
    assert_same_training(padded, three_steps(step, IMAGES[VALID], VALID[VALID]))


@pytest.mark.slow
def test_fast_convolutions_train_as_plain_ones(padded, monkeypatch):
    def plain(x, kernel, *, stride=1, padding=0):
        numbers = ("NHWC", "HWIO", "NHWC")
        rows = x.reshape(-1, *x.shape[-3:])
        y = lax.conv_general_dilated(
            rows, kernel, (stride, stride), [(padding, padding)] * 2, dimension_numbers=numbers
        )
        return y.reshape(*x.shape[:-3], *y.shape[1:])

    monkeypatch.setattr(gnl_jax.nn.layers, "conv2d", plain)
    assert_same_training(padded, three_steps(compile_step(jax.jit), IMAGES, VALID))


@pytest.mark.slow
def test_features_computed_once_train_as_those_of_every_step(padded):
    """The clean view's features given, the noisy views' from the teacher."""
    split = ViewSplit((0,), (1, 2))

    def chosen_views(key, images, positions=(0, 1, 2)):
        return noisy_views(key, images)[jnp.array(positions)]

    def step(key, state, images, valid, teacher):
        clean = fixed_features(
            lambda at: teacher_stages(teacher, chosen_views(jax.random.key(9), images, at), model=MODEL), split
        )
        options = {"model": MODEL, "tx": ADAM, "teacher": teacher, "loss_weights": LossWeights()}
        return train_step(key, state, images, valid, make_views=chosen_views, features=clean, split=split, **options)

    def stepped(*arguments):
        with jax.enable_x64(True):
            return jax.device_get(compiled(*arguments))

    compiled = jax.jit(step)
    assert_same_training(padded, three_steps(stepped, IMAGES, VALID))


@pytest.mark.slow
def test_training_reduces_the_loss_and_reports_its_parts(padded):
    state, history = padded
    assert state.step == 3
    assert history[2]["loss"] < history[0]["loss"]
    for metrics in history:
        weighted = sum(weight * metrics[name] for name, weight in LossWeights()._asdict().items())
        np.testing.assert_allclose(metrics["loss"], weighted, rtol=1e-12)


@pytest.mark.slow
def test_a_step_is_a_function_of_key_and_step_number(step):
    teacher, state = start()

    def result(key, state):
        return step(jax.random.key(key), state, IMAGES, VALID, teacher)

    first = result(0, state)
    jax.tree.map(np.testing.assert_array_equal, first, result(0, state))
    for _, metrics in (result(1, state), result(0, state._replace(step=state.step + 1))):
        assert metrics["abs"] != first[1]["abs"]
        assert metrics["ori"] == first[1]["ori"]  # the clean view is the same


@pytest.mark.slow
def test_teacher_stages_are_those_of_each_view_and_pass_no_gradient():
    @jax.jit
    def run(teacher, views):
        stages = teacher_stages(teacher, views, model=MODEL)
        gradients = jax.grad(lambda *x: sum(map(jnp.sum, teacher_stages(*x, model=MODEL))), argnums=(0, 1))
        return stages, MODEL.teacher.apply(teacher, views[1]), gradients(teacher, views)

    with jax.enable_x64(True):
        stages, alone, gradients = run(start()[0], noisy_views(jax.random.key(0), IMAGES[:2]))
    for together, one in zip(stages, alone, strict=True):
        assert together.shape == (3, *one.shape)
        np.testing.assert_allclose(together[1], one, atol=1e-12)
    assert not any(np.any(leaf) for leaf in jax.tree.leaves(gradients))
