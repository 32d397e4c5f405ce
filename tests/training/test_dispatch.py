"""One compiled call for one or several steps: the same training, whichever it is."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from run_folders import small_architecture

from gnl_jax.config import default_config
from gnl_jax.data.digits import digits_task
from gnl_jax.data.feed import device_feed, make_schedule
from gnl_jax.methods.build import build_method
from gnl_jax.training.dispatch import make_dispatch, steps_per_dispatch

QUICK = {"xla_backend_optimization_level": 0}  # to compile, in a fifth of the time


def test_the_choice_on_cpu():
    assert steps_per_dispatch(0) == 1
    assert steps_per_dispatch(7) == 7
    with pytest.raises(ValueError, match=r"train.steps_per_dispatch: got -1"):
        steps_per_dispatch(-1)


def count(key, state, frozen, images, valid, features):
    """A step that leaves traces of all it was given."""
    state = {"n": state["n"] + 1, "sum": state["sum"] + frozen * images.sum() * valid.sum()}
    return state, {"loss": state["sum"], "draw": jax.random.uniform(jax.random.fold_in(key, state["n"]))}


@pytest.mark.parametrize("group", [1, 2, 5])
def test_state_and_metrics_of_every_step(group):
    images = jnp.arange(10, dtype=jnp.float32).reshape(10, 1)
    valid = jnp.arange(10).reshape(10, 1) % 3 > 0
    dispatch, key = make_dispatch(count), jax.random.key(0)
    state, losses, draws = {"n": jnp.int32(0), "sum": jnp.float32(0)}, [], []
    for i in range(0, 10, group):
        given = state
        state, metrics = dispatch(key, state, 2.0, images[i : i + group], valid[i : i + group])
        assert given["sum"].is_deleted()  # its memory serves the next state
        assert metrics["loss"].shape == (group,)
        losses += metrics["loss"].tolist()
        draws += metrics["draw"].tolist()
    assert losses == np.cumsum([2 * i if i % 3 else 0 for i in range(10)]).tolist()
    assert draws == [jax.random.uniform(jax.random.fold_in(key, i)).item() for i in range(1, 11)]


@pytest.fixture
def method():
    """Reverse distillation of one view, by a ResNet with one block to a stage: a third of the time to compile."""
    config = default_config()
    config.teacher.update(arch="resnet10", weights="random")
    config.method.views = ("clean",)
    with small_architecture():
        yield build_method(config)


def trained(method, state, images, *, group):
    """State and losses after three steps, the epoch over after two."""
    (phase,) = method.phases
    key, schedule = jax.random.key(0), make_schedule(len(images), batch_size=2, seed=0, min_valid=2)
    losses = []
    for _, batch, valid in device_feed(images, schedule, start=0, stop=3, group=group):
        if not losses:
            lowered = make_dispatch(phase.step).lower(key, state, method.frozen, batch, valid)
            dispatch = lowered.compile(QUICK)
        state, metrics = dispatch(key, state, method.frozen, batch, valid)
        losses += metrics["loss"].tolist()
    return state, losses


def widened(tree):
    return jax.tree.map(lambda x: np.asarray(x, np.float64 if x.ndim else x.dtype), tree)


@pytest.mark.slow
def test_three_steps_at_once_are_three_steps(method):
    images = digits_task("0", limit_train=4).train
    start = jax.device_get(method.phases[0].init(jax.random.key(0), None, images))
    losses = [trained(method, start, images, group=group)[1] for group in (1, 3)]
    assert losses[0][0] == pytest.approx(losses[1][0], rel=1e-5)  # from then on Adam amplifies rounding
    with jax.enable_x64(True):
        method = dataclasses.replace(method, frozen=widened(method.frozen))
        (one, losses), (other, others) = (trained(method, widened(start), images, group=group) for group in (1, 3))
    np.testing.assert_allclose(losses, others, rtol=1e-8)
    for a, b in zip(jax.tree.leaves(jax.device_get(one)), jax.tree.leaves(jax.device_get(other)), strict=True):
        assert a.dtype == b.dtype == (np.float64 if a.ndim else np.int32)
        assert np.linalg.norm(a - b) <= 1e-8 * np.linalg.norm(a)


@pytest.mark.slow
def test_all_digits_train_across_the_end_of_an_epoch(method):
    """Their last batches hold 2 to 16 images (a single one is skipped), and none gives a NaN."""
    (phase,) = method.phases
    key = jax.random.key(0)
    state, step, last = phase.init(key, None, None), None, set()
    for digit in "0123456789":
        images = digits_task(digit).train
        schedule = make_schedule(len(images), batch_size=16, seed=0, min_valid=phase.min_valid)
        start = schedule.steps_per_epoch - 1
        last.add(int(schedule.batch(start)[1].sum()))
        for _, batch, valid in device_feed(images, schedule, start=start, stop=start + 2):
            arguments = (key, state, method.frozen, batch, valid)
            step = step or make_dispatch(phase.step).lower(*arguments).compile(QUICK)
            state, metrics = step(*arguments)
            assert 0 < metrics["loss"] < 3
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(jax.device_get(state)))
    assert len(last) > 5
    assert min(last) >= 2
