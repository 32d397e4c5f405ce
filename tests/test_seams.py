"""Methods, a teacher and a loss that the package does not know: all of them through its public functions."""

from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import tiny_method

import gnl_jax
from gnl_jax.data.protocol import LabelledImages, Task
from gnl_jax.detection.container import ArtifactError
from gnl_jax.detection.options import FitOptions
from gnl_jax.evaluation.restore import restore_detector
from gnl_jax.images.views import normalise
from gnl_jax.methods.array_step import make_train_step
from gnl_jax.methods.base import Method, Prediction
from gnl_jax.methods.distillation import distillation_method
from gnl_jax.methods.losses import gnl_losses
from gnl_jax.methods.reverse_distillation import Model, init_state
from gnl_jax.methods.scoring import Scoring
from gnl_jax.nn.batch_norm import BatchNorm
from gnl_jax.nn.decoder import Student

IMAGES = np.random.default_rng(0).integers(0, 256, (24, 32, 32, 3), np.uint8)
KEY = jax.random.key(3)


class Pyramid(nn.Module):
    """A teacher with strides 2, 4 and 8 instead of a ResNet's, and few channels."""

    channels: tuple[int, ...] = (6, 10, 20)
    stride: int = 2

    @nn.compact
    def __call__(self, images, match=None):
        x, stages = images, []
        for k, features in enumerate(self.channels, start=1):
            x = nn.relu(nn.Conv(features, (3, 3), strides=self.stride if k == 1 else 2)(x))
            if match is not None and k < 3:
                x = match(k, x)
            stages.append(x)
        return tuple(stages)


MODEL = Model(Pyramid(), Student("resnet18"))
TEACHER = MODEL.teacher.init(KEY, jnp.zeros((1, 32, 32, 3)))


def views(key, images):
    """The images as they are, and with noise."""
    clean = normalise(images, kind="imagenet")
    return jnp.stack([clean, clean + 0.1 * jax.random.normal(key, clean.shape)])


def spread_loss(outputs):
    """The norm of the embedding of view 0, [b]."""
    return jnp.sqrt(1e-6 + jnp.mean(outputs.embedding[0].astype(jnp.float32) ** 2, axis=(1, 2, 3)))


LOSSES = {
    "losses": {**gnl_losses(), "spread": spread_loss},
    "loss_weights": {"ori": 0.9, "abs": 0.05, "lowf": 0.05, "spread": 0.1},
}


def pyramid_method(scoring=Scoring(), **losses):
    return distillation_method(
        MODEL,
        TEACHER,
        size=32,
        make_views=views,
        tx=optax.adam(1e-3),
        scoring=scoring,
        epochs=1,
        batch_size=4,
        name="pyramid",
        **losses,
    )


def deviation_method():
    """Nothing to train: an image's distance from the mean of the good ones."""

    def finish(frozen, state, images):
        assert state is None
        return {"mean": jnp.asarray(images[:].astype(np.float32).mean(0))}

    def score_batch(variables, images):
        distance = jnp.abs(images.astype(jnp.float32) - variables["mean"][None]).mean(-1)
        return Prediction(distance.max((1, 2)), distance)

    return Method("deviation", {}, (), finish, score_batch)


class Case(NamedTuple):
    method: Method
    steps: int  # that 8 images make


CASES = {
    "no phase": lambda: Case(deviation_method(), 0),
    "one phase": lambda: Case(tiny_method.make_method(tiny_method.make_config()), 8),
    "a pyramid": lambda: Case(pyramid_method(scoring=Scoring("efdm", alpha=0.5, anchor="barycentre")), 2),
    "a loss": lambda: Case(pyramid_method(**LOSSES), 2),
}


SLOW = ("a pyramid", "a loss")  # a whole student is compiled


@pytest.fixture(params=[pytest.param(name, marks=pytest.mark.slow if name in SLOW else ()) for name in CASES])
def case(request):
    return CASES[request.param]()


def config():
    config = tiny_method.make_config()
    config.teacher.weights = ""  # no teacher of a configuration plays a part
    config.eval.batch_size = 4
    return config


def assert_same_bits(one, other):
    assert np.isfinite(one.score).all()
    assert len(set(one.score.tolist())) > 1
    for a, b in zip(one, other, strict=True):
        np.testing.assert_array_equal(a, b)


def test_it_trains_and_is_restored(case, tmp_path):
    task = Task("noise", "any", IMAGES[:8], {"id": lambda: LabelledImages(IMAGES[8:], np.arange(16) % 2 == 1)})
    trained = gnl_jax.train(config(), tmp_path, task=task, method=case.method)
    assert trained.steps == case.steps
    assert gnl_jax.train(config(), tmp_path, task=task, method=case.method).steps == case.steps  # resumed at its end
    detector, steps = restore_detector(tmp_path, task=task, method=case.method)
    assert steps == case.steps
    again, _ = restore_detector(tmp_path, task=task, method=case.method)
    assert_same_bits(detector(IMAGES[8:]), again(IMAGES[8:]))


def test_it_becomes_a_detector_that_is_saved_and_loaded(case, tmp_path):
    said = []
    detector = gnl_jax.fit(IMAGES, config(), method=case.method, say=said.append)
    assert len([line for line in said if line.startswith("training: ")]) == len(case.method.phases)
    assert repr(detector).startswith(f"Detector: {case.method.name}, 32x32")
    gnl_jax.save(detector, tmp_path / "own.gnl")
    loaded = gnl_jax.load(tmp_path / "own.gnl", method=case.method)
    unseen = IMAGES[::-1][:6] ^ 255
    assert_same_bits(detector(unseen), loaded(unseen))
    assert detector.decide(detector(unseen)) == loaded.decide(loaded(unseen))
    needed = rf"own.gnl: got 'no method', expected load\(\.\.\., method=\) of '{case.method.name}'"
    with pytest.raises(ArtifactError, match=needed):
        gnl_jax.load(tmp_path / "own.gnl")
    with pytest.raises(ArtifactError, match=f"got 'other', expected .* of '{case.method.name}'"):
        gnl_jax.load(tmp_path / "own.gnl", method=Method("other", {}, (), lambda *_: {}, lambda *_: None))


@pytest.mark.parametrize("options", [{"epochs": 3}, {"time_budget": 5.0}, {"student": "student.pth"}])
def test_options_of_training_have_no_meaning_for_it(options):
    (name,) = options
    with pytest.raises(ValueError, match=f"^{name}: got .* with method='deviation', expected none"):
        gnl_jax.fit(IMAGES, config(), options=FitOptions(**options), method=deviation_method())


@pytest.mark.parametrize(("size", "stride", "least"), [(16, 2, 2), (32, 2, 1), (32, 4, 2), (64, 4, 1)])
def test_a_batch_of_one_is_left_out_where_the_embedding_is_one_value(size, stride, least):
    model = Model(Pyramid(stride=stride), Student("resnet18"))
    method = distillation_method(model, {}, size=size, make_views=views, tx=optax.sgd(0.1))
    assert method.phases[0].min_valid == least


@pytest.mark.parametrize(
    ("teacher", "found"),
    [
        (Pyramid(channels=(6, 10)), r"\[16, 16, 6\], \[8, 8, 10\] of"),
        (Pyramid(stride=3), r"\[11, 11, 6\], \[6, 6, 10\]"),
    ],
)
def test_a_teacher_that_no_student_can_learn(teacher, found):
    with pytest.raises(ValueError, match=f"teacher: got stages {found}.*expected three"):
        distillation_method(Model(teacher, Student("resnet18")), {}, size=32, make_views=views, tx=optax.sgd(0.1))


class Norm(nn.Module):
    """A student small enough for every transformation of its step."""

    @nn.compact
    def __call__(self, stages, valid=None):
        decoded = [BatchNorm(name=f"decoder{i}")(stage, valid) for i, stage in enumerate(stages)]
        return BatchNorm(name="bottleneck")(stages[-1], valid), tuple(decoded)


@pytest.mark.slow
def test_a_step_is_a_function_like_any_other():
    """Jitted, over keys, over steps, and differentiated: what plain calls give."""
    model, tx = Model(Pyramid(), Norm()), optax.sgd(0.1)
    step = gnl_jax.make_train_step(model=model, tx=tx, teacher=TEACHER, make_views=views, **LOSSES)
    state = init_state(KEY, model=model, tx=tx, size=32)
    images, valid = jnp.asarray(IMAGES[:4]), jnp.array([True, True, True, False])
    once, metrics = jax.jit(step)(KEY, state, images, valid)
    twice, _ = jax.jit(step)(KEY, once, images, valid)
    assert metrics.keys() == {"loss", "ori", "abs", "lowf", "spread"}

    def close(one, other):
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6), one, other)

    scanned, losses = jax.jit(
        lambda state: jax.lax.scan(lambda s, _: step(KEY, s, images, valid), state, None, length=2)
    )(state)
    close(scanned, twice)
    assert losses["loss"].shape == (2,)
    keys = jax.random.split(KEY, 2)
    states, _ = jax.jit(jax.vmap(step, in_axes=(0, None, None, None)))(keys, state, images, valid)
    close(jax.tree.map(lambda leaf: leaf[1], states), jax.jit(step)(keys[1], state, images, valid)[0])

    def loss(params):
        return step(KEY, state._replace(params=params), images, valid)[1]["loss"]

    gradient = jax.jit(jax.grad(loss))(state.params)
    close(jax.tree.map(lambda p, g: p - 0.1 * g, state.params, gradient), once.params)  # what gradient descent did


def test_each_loss_has_its_weight():
    model, tx = Model(Pyramid(), Norm()), optax.sgd(0.1)
    step = make_train_step(model=model, tx=tx, teacher=TEACHER, make_views=views, losses=LOSSES["losses"])
    state = init_state(KEY, model=model, tx=tx, size=32)
    with pytest.raises(ValueError, match=r"loss_weights: got weights of \['abs', 'lowf', 'ori'\], expected .*'spread'"):
        step(KEY, state, jnp.asarray(IMAGES[:4]), jnp.ones(4, bool))
