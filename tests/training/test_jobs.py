"""Several runs as one program: each as if trained alone, however they are stopped and whatever their sizes."""

import json

import jax
import numpy as np
import pytest
import tiny_method
from tiny_method import make_config, make_task

from gnl_jax.training import jobs, loop
from gnl_jax.training.checkpoint import Checkpoints
from gnl_jax.training.jobs import job_step, train_jobs
from gnl_jax.training.loop import train
from gnl_jax.training.metrics_log import MetricsLog
from gnl_jax.training.steps import TrainingError

SIZES, SEEDS = (7, 4, 10), (0, 1, 2)


@pytest.fixture
def method(monkeypatch):
    """method(**options) makes both ways of training train that tiny method."""

    def set_method(**options):
        for module in (loop, jobs):
            monkeypatch.setattr(
                module, "build_method", lambda config, frozen: tiny_method.make_method(config, **options)
            )

    set_method()
    return set_method


def configs(**train):
    result = []
    for seed in SEEDS:
        config = make_config(**train)
        config.seed = seed
        result.append(config)
    return result


def tasks():
    return [make_task(n, seed=n) for n in SIZES]


def rows(folder):
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    assert all(line.pop("seconds") > 0 for line in lines)
    return lines


def weights(folder, phase="only"):
    like = tiny_method.init(jax.random.key(0), None, None)
    with Checkpoints(folder / "checkpoints" / phase) as checkpoints:
        restored = checkpoints.restore(like)
    return restored.step, restored.state


def assert_same_run(one, other, phase="only"):
    for a, b in zip(rows(one), rows(other), strict=True):
        assert a == b | {"loss": pytest.approx(b["loss"], rel=1e-5)}
    (steps, state), (others, other_state) = weights(one, phase), weights(other, phase)
    assert steps == others
    for a, b in zip(jax.tree.leaves(state), jax.tree.leaves(other_state), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6)
    for name in ("config.json", "frozen.safetensors"):
        assert (one / name).read_bytes() == (other / name).read_bytes()


@pytest.mark.slow
@pytest.mark.parametrize("group", [1, 3])
def test_jobs_are_runs(method, tmp_path, group):
    """Different sizes, so that they end after 8, 4 and 10 steps and batches are filled up differently."""
    method(phases=("first", "second"))
    taken = train_jobs(configs(steps_per_dispatch=group), [tmp_path / f"job{i}" for i in range(3)], tasks=tasks())
    assert taken == [16, 8, 20]
    for i, (config, task) in enumerate(zip(configs(steps_per_dispatch=group), tasks())):
        train(config, tmp_path / f"run{i}", task=task)
        assert_same_run(tmp_path / f"job{i}", tmp_path / f"run{i}", "second")


class Crash(Exception):
    pass


@pytest.mark.slow
def test_crashed_jobs_end_with_the_same_bits(method, tmp_path, monkeypatch):
    folders = {name: [tmp_path / f"{name}{i}" for i in range(3)] for name in ("whole", "crashed")}
    train_jobs(configs(), folders["whole"], tasks=tasks())
    append, left = MetricsLog.append, 13

    def failing(self, row):
        nonlocal left
        left -= 1
        if left == 0:
            raise Crash
        append(self, row)

    monkeypatch.setattr(MetricsLog, "append", failing)
    with pytest.raises(Crash):
        train_jobs(configs(), folders["crashed"], tasks=tasks())
    train_jobs(configs(), folders["crashed"], tasks=tasks())
    for one, other in zip(*folders.values()):
        assert rows(one) == rows(other)
        for a, b in zip(jax.tree.leaves(weights(one)), jax.tree.leaves(weights(other)), strict=True):
            np.testing.assert_array_equal(a, b)


@pytest.mark.slow
def test_a_run_goes_on_among_jobs_and_a_job_alone(method, tmp_path):
    folders = [tmp_path / f"job{i}" for i in range(3)]
    train(configs(epochs=1)[0], folders[0], task=tasks()[0])
    train_jobs(configs(), folders, tasks=tasks())
    train(configs(epochs=3)[1], folders[1], task=tasks()[1])
    for i, epochs in ((0, 2), (1, 3)):
        train(configs(epochs=epochs)[i], tmp_path / f"run{i}", task=tasks()[i])
        assert_same_run(folders[i], tmp_path / f"run{i}")


def test_nothing_is_left_to_do(method, tmp_path):
    folders = [tmp_path / f"job{i}" for i in range(3)]
    train_jobs(configs(), folders, tasks=tasks())
    before = [rows(folder) for folder in folders]
    assert train_jobs(configs(), folders, tasks=tasks()) == [8, 4, 10]
    assert [rows(folder) for folder in folders] == before


@pytest.mark.slow
def test_a_broken_job_is_named(method, tmp_path):
    method(nan_loss_at=5)
    with pytest.raises(TrainingError, match=r"only, step 6: .*nan.*training images \["):
        train_jobs(configs(), [tmp_path / f"job{i}" for i in range(3)], tasks=tasks())


def test_configurations_that_cannot_share_a_program(method, tmp_path):
    one, other, third = configs()
    other.train.learning_rate = 0.1
    with pytest.raises(ValueError, match=r"jobs: train.learning_rate is 0.005 in one and 0.1 in another"):
        train_jobs([one, other, third], [tmp_path / name for name in "abc"], tasks=tasks())
    assert not (tmp_path / "a" / "config.json").exists()


def test_another_teacher_in_a_folder_is_noticed(method, tmp_path):
    folders = [tmp_path / f"job{i}" for i in range(3)]
    train_jobs(configs(epochs=1), folders, tasks=tasks())
    (folders[1] / "frozen.safetensors").write_bytes((folders[1] / "frozen.safetensors").read_bytes()[:-1] + b"?")
    with pytest.raises(ValueError, match="have different teachers"):
        train_jobs(configs(), folders, tasks=tasks())


def test_a_job_without_valid_rows_keeps_its_state():
    """Also its moments, which an Adam step on a zero gradient would move."""
    step = jax.jit(job_step(tiny_method.make_step()))
    keys = jax.vmap(jax.random.key)(np.arange(2))
    state = jax.vmap(lambda key: tiny_method.init(key, None, None))(keys)
    images = np.random.default_rng(0).integers(0, 256, (2, 3, 32, 32, 3), np.uint8)
    frozen = {"scale": np.float32(0.1)}
    moved, _ = step(keys, state, frozen, images, np.ones((2, 3), bool), None)
    after, _ = step(keys, moved, frozen, images, np.array([[True] * 3, [False] * 3]), None)
    assert after["step"].tolist() == [2, 1]
    for a, b in zip(jax.tree.leaves(after), jax.tree.leaves(moved)):
        assert (np.asarray(a[0]) != np.asarray(b[0])).any()
        np.testing.assert_array_equal(a[1], b[1])
