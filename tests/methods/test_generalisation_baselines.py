"""Mixing of features and the jigsaw task within the one training step, on a small ResNet at 32 pixels."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.special
from run_folders import small_architecture

from gnl_jax.config import default_config, set_method
from gnl_jax.images.jigsaw import apply_order, jigsaw_permutations, shuffle_tiles
from gnl_jax.methods.build import build_method
from gnl_jax.methods.jigsaw import Jigsaw, init_head, jigsaw_loss
from gnl_jax.methods.losses import LossWeights, gnl_losses
from gnl_jax.methods.options import augmix_options, jigsaw_options, mixing_options
from gnl_jax.methods.reverse_distillation import (
    JIGSAW_STREAM,
    MIXING_STREAM,
    Model,
    init_state,
    teacher_stages,
    torch_adam,
    train_step,
    view_losses,
)
from gnl_jax.nn.resnet import init_teacher
from gnl_jax.ops.mixing import Mixing, make_mixer

IMAGES = np.random.default_rng(0).integers(0, 256, (6, 32, 32, 3), dtype=np.uint8)
ALL = np.ones(6, bool)
ADAM = torch_adam(0.005, b1=0.5, b2=0.999)
JIGSAW = Jigsaw(0.7, jigsaw_permutations(5), 0.4, ordered_only=False)
ONE_VIEW = LossWeights(1.0, 0.0, 0.0)


def clean(key, images):
    return jnp.asarray(images, jnp.float32)[None] / 255


@pytest.fixture(scope="module")
def model():
    with small_architecture():
        yield Model.create("resnet10")


@pytest.fixture(scope="module")
def teacher(model):
    return init_teacher(jax.random.key(1), "resnet10")


@functools.cache
def fresh(model, jigsaw):
    return init_state(jax.random.key(2), model=model, tx=ADAM, size=32, jigsaw=JIGSAW if jigsaw else None)


def step(model, teacher, images, valid, **options):
    """Metrics and state after one step from a fresh student."""
    run = jax.jit(
        functools.partial(train_step, model=model, tx=ADAM, make_views=clean, loss_weights=ONE_VIEW, **options)
    )
    state = fresh(model, options.get("jigsaw") is not None)
    return jax.device_get(run(jax.random.key(0), state, images, valid, teacher=teacher))


def stream(number):
    return jax.random.fold_in(jax.random.fold_in(jax.random.key(0), number), 0)


def losses(model, stages, targets, valid=ALL):
    run = jax.jit(functools.partial(view_losses, model=model, losses=gnl_losses()))
    state = fresh(model, False)
    return run(state.params, state.batch_stats, stages, valid, targets=targets)[0]["ori"]


@pytest.mark.slow
@pytest.mark.parametrize("clean_targets", [False, True])
def test_mixed_features_are_what_the_student_sees_and_rebuilds(model, teacher, clean_targets):
    mixing = Mixing("efdm", probability=1.0, clean_targets=clean_targets)
    _, metrics = step(model, teacher, IMAGES, ALL, mixing=mixing)
    views = clean(None, IMAGES)
    plain = teacher_stages(teacher, views, model=model)
    mixed = teacher_stages(teacher, views, model=model, match=make_mixer(stream(MIXING_STREAM), ALL, mixing))
    assert (np.asarray(mixed[2]) != np.asarray(plain[2])).any()  # carried on to the stage that is not mixed itself
    wanted = losses(model, mixed, plain if clean_targets else mixed).mean()
    other = losses(model, mixed, mixed if clean_targets else plain).mean()
    # Two programs: features that are nearly equal may swap their ranks.
    assert metrics["loss"] == pytest.approx(float(wanted), rel=1e-4)
    assert abs(float(other) - float(wanted)) > 5e-4


@pytest.mark.slow
def test_the_jigsaw_task(model, teacher):
    state, metrics = step(model, teacher, IMAGES, ALL, jigsaw=JIGSAW)
    shuffled, order = shuffle_tiles(stream(JIGSAW_STREAM), IMAGES, JIGSAW.permutations, JIGSAW.identity)
    assert 0 < np.count_nonzero(order) < 6
    for image, tiles, number in zip(IMAGES, np.asarray(shuffled), np.asarray(order)):
        np.testing.assert_array_equal(tiles, apply_order(image, JIGSAW.permutations[number]))
    stages = teacher_stages(teacher, clean(None, shuffled), model=model)
    rebuilt = losses(model, stages, None)
    assert metrics["ori"] == pytest.approx(float(rebuilt.mean()), rel=1e-4)
    assert metrics["loss"] == pytest.approx(metrics["ori"] + 0.7 * metrics["jigsaw"], rel=1e-6)
    assert metrics["jigsaw"] == pytest.approx(np.log(6), abs=1)  # it does not know yet
    before = fresh(model, True).params["jigsaw"]
    assert all((state.params["jigsaw"][name] != before[name]).any() for name in ("kernel", "bias"))
    _, ordered = step(model, teacher, IMAGES, ALL, jigsaw=JIGSAW._replace(ordered_only=True))
    assert ordered["ori"] == pytest.approx(float(rebuilt[np.asarray(order) == 0].mean()), rel=1e-4)


def test_cross_entropy_of_the_order():
    rng = np.random.default_rng(0)
    embedding, order = rng.normal(size=(4, 2, 2, 8)).astype(np.float32), np.array([0, 2, 1, 2])
    head = jax.device_get(init_head(jax.random.key(0), features=8, orders=3))
    assert np.abs(head["kernel"]).max() <= 8**-0.5
    logits = embedding.mean((1, 2)) @ head["kernel"] + head["bias"]
    wanted = -scipy.special.log_softmax(logits, axis=1)[np.arange(4), order]
    np.testing.assert_allclose(jigsaw_loss(head, embedding, order), wanted, rtol=1e-5)


@pytest.mark.slow
def test_rows_that_fill_up_a_batch_change_nothing(model, teacher):
    options = {"mixing": Mixing("mixstyle", probability=1.0), "jigsaw": JIGSAW}
    short = step(model, teacher, IMAGES[:4], ALL[:4], **options)
    filled = step(model, teacher, IMAGES, np.arange(6) < 4, **options)
    for name, value in short[1].items():
        assert filled[1][name] == pytest.approx(value, rel=1e-4)
    for a, b in zip(jax.tree.leaves(short[0].batch_stats), jax.tree.leaves(filled[0].batch_stats), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-5)


@pytest.mark.slow
def test_no_jigsaw_leaves_the_student_as_it_was(model):
    """Its initialisation does not depend on whether there is a head."""
    plain, with_head = fresh(model, False), fresh(model, True)
    for a, b in zip(jax.tree.leaves(plain.params), jax.tree.leaves({**with_head.params, "jigsaw": {}}), strict=True):
        np.testing.assert_array_equal(a, b)


def test_the_baselines_settings():
    def config(name):
        return set_method(default_config(), name).method

    assert mixing_options(config("rd4ad").mixing) is None
    assert mixing_options(config("efdm").mixing) == Mixing("efdm", 0.5, 0.1, clean_targets=False)
    assert mixing_options(config("augmix_mixstyle").mixing).kind == "mixstyle"
    assert jigsaw_options(config("gnl").jigsaw) is None
    assert jigsaw_options(config("jigsaw").jigsaw)[0::2] == (0.7, 0.9)
    assert jigsaw_options(config("jigsaw").jigsaw).permutations.shape == (31, 9)
    for name in ("augmix", "augmix_mixstyle", "augmix_efdm"):
        options = augmix_options(config(name).augmix)
        assert (options.severity, options.sticky_depth, options.geometric) == (3.0, False, True)
        assert config(name).views == ("augmix",)
        assert len(options.all_operations) == 13
    assert augmix_options(config("gnl").augmix).geometric is False


def test_the_head_is_no_part_of_the_detector(model):
    config = set_method(default_config(), "jigsaw")
    config.teacher.arch = "resnet10"
    method = build_method(config, frozen={})
    state = jax.eval_shape(lambda: method.phases[0].init(jax.random.key(0), None, None))
    assert set(state.params) == {"bottleneck", "decoder", "jigsaw"}
    assert set(method.finish({}, state, None)["student"]["params"]) == {"bottleneck", "decoder"}
