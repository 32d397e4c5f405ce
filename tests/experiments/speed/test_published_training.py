"""GNL trained by the published step: our weights go there and back, and what is trained is a run as any other."""

import programs
import pytest

torch = pytest.importorskip("torch", reason="needs the extra torch")

import jax  # noqa: E402
import numpy as np  # noqa: E402

from experiments.speed.published_exchange import published_step, student_of  # noqa: E402
from gnl_jax.config import default_config, set_method  # noqa: E402
from gnl_jax.config_io import load_config  # noqa: E402
from gnl_jax.evaluation.results import read_results  # noqa: E402
from gnl_jax.methods.build import build_method  # noqa: E402
from gnl_jax.training.checkpoint import Checkpoints  # noqa: E402

PARTS = ("params", "batch_stats")
SETTINGS = ("train.max_steps=2", "dataset.limit_test=20", "dataset.shifts=()")


def random_state(shapes, seed: int):
    """A number of its own at every place, so that no two arrays can be taken for each other; no optimiser."""
    rng = np.random.default_rng(seed)
    trees = {name: getattr(shapes, name) for name in PARTS}
    filled = jax.tree.map(lambda leaf: rng.uniform(0.5, 1.5, leaf.shape).astype(np.float32), trees)
    return shapes._replace(**filled)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_students_weights_go_there_and_back(dtype):
    config = set_method(default_config(), "gnl")
    config.teacher.weights = "bundled"
    method = build_method(config)
    shapes = jax.eval_shape(lambda: method.phases[0].init(jax.random.key(0), None, None))
    given, other = (random_state(shapes, seed) for seed in (0, 1))
    networks, _ = published_step(config, method.frozen, given, dtype)
    found = student_of(networks, other)
    for name in PARTS:
        assert jax.tree.structure(getattr(found, name)) == jax.tree.structure(getattr(given, name))
        jax.tree.map(np.testing.assert_array_equal, getattr(found, name), getattr(given, name))
    assert found.opt_state is other.opt_state


def train(folder):
    settings = (f"--config.{setting}" for setting in SETTINGS)
    return programs.run("published_training", *programs.SMALL, *settings, f"--workdir={folder}")


@pytest.mark.slow
def test_two_steps_into_a_folder_that_is_tested_as_any_other(tmp_path):
    folder = tmp_path / "run"
    trained = train(folder)
    assert trained.returncode == 0, trained.stderr
    assert trained.stdout == f"trained 2 published steps: {folder}\n"
    rows = programs.metrics(folder)
    assert [(row["step"], row["epoch"], row["phase"]) for row in rows] == [
        (1, 0, "distillation"),
        (2, 0, "distillation"),
    ]
    assert all(row["loss"] > 0 for row in rows)
    config = load_config(folder)
    (phase,) = build_method(config).phases
    untrained = phase.init(jax.random.key(config.seed), None, None)
    with Checkpoints(folder / "checkpoints" / phase.name) as checkpoints:
        state = checkpoints.restore(untrained).state
    for before, after in zip(jax.tree.leaves(untrained.params), jax.tree.leaves(state.params), strict=True):
        assert not np.array_equal(before, after)
    evaluated = programs.run("evaluate", f"--workdir={folder}", "--config.eval.matching=('none',)", f"--out={folder}")
    assert evaluated.returncode == 0, evaluated.stderr
    (row,) = read_results(folder / "results.json")
    assert (row["steps"], row["n_test"]) == (2, {"id": 20})
    assert 0 <= row["auroc"]["id"] <= 1


@pytest.mark.slow
def test_a_folder_with_a_run_is_refused_before_any_step(tmp_path):
    (tmp_path / "config.json").write_text("{}")
    done = train(tmp_path)
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1] == f"error: workdir {tmp_path}: holds a run, expected another folder"
    assert {path.name for path in tmp_path.iterdir()} <= {"config.json", ".lock"}


@pytest.mark.slow
def test_another_method_is_refused(tmp_path):
    done = programs.run("published_training", f"{programs.DIGITS}:3,rd4ad", f"--workdir={tmp_path}/run")
    assert done.returncode == 1
    assert done.stderr == "error: method.name: got 'rd4ad', expected 'gnl', as the published step has it\n"
    assert not (tmp_path / "run").exists()
