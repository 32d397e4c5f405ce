"""experiments/evaluate.py from the command line: what it prints, what it refuses, a reader that goes away."""

import subprocess

import programs
import pytest

from gnl_jax.evaluation.results import read_results
from gnl_jax.evaluation.scores import read_scores

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("trained")
    settings = ("train.max_steps=1", "dataset.limit_test=20", "dataset.shifts=()")
    done = programs.run("train", *programs.SMALL, *(f"--config.{s}" for s in settings), f"--workdir={folder}")
    assert done.returncode == 0, done.stderr
    assert done.stdout == f"trained 1 steps: {folder}\n"
    # Nobody else's log lines, and no warnings.
    assert done.stderr.splitlines() == [
        "the teacher is random: fit for a demonstration and for tests. "
        "--config.teacher.weights=imagenet (or a file) uses trained weights",
        "10 training images of 0.0 MiB in all live on the device (train.device_budget_mb is 2048)",
        "distillation: steps 0 to 1",
    ]
    return folder


def test_the_reader_goes_away(trained, tmp_path):
    """As in `evaluate.py ... | head -1`."""
    command = programs.command(
        "evaluate", f"--workdir={trained}", f"--out={tmp_path}", "--config.eval.matching=('none',)"
    )
    with subprocess.Popen(
        command, env=programs.environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        process.stdout.close()
        err = process.stderr.read()
    assert process.returncode in (0, 141)
    assert err == ""
    (row,) = read_results(tmp_path / "results.json")
    assert row["matching"]["kind"] == "none"
    (scores,) = read_scores(tmp_path / "scores.npz")
    assert {name: len(scored.score) for name, scored in scores.items()} == row["n_test"] == {"id": 20}


def test_other_test_sets_and_alphas_of_the_same_run(trained, tmp_path):
    """With the training's configuration, the run's own results and its checkpoint left alone."""
    before = (trained / "config.json").read_bytes()
    done = programs.run(
        "evaluate", f"--workdir={trained}", f"--out={tmp_path}", "--alphas=0,1", "--config.eval.matching=('efdm',)",
        "--config.dataset.shifts=('contrast',)", "--config.dataset.severity=5",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    rows = read_results(tmp_path / "results.json")
    assert [row["matching"]["alpha"] for row in rows] == [0, 1]
    assert all(row["n_test"] == {"id": 20, "contrast": 20} for row in rows)
    assert (trained / "config.json").read_bytes() == before
    assert not (trained / "results.json").exists()


def test_what_cannot_be_evaluated(trained, tmp_path):
    for arguments, line in (
        ([f"--workdir={tmp_path}"], f"error: {tmp_path}/config.json: [Errno 2] No such file or directory"),
        ([f"--workdir={trained}", "--config.eval.alpha=7.0"], "error: eval.alpha: got 7.0, expected 0 to 1"),
        ([f"--workdir={trained}", "--config.eval.beta=1"], "error: --config has no field 'beta'"),
        ([f"--workdir={trained}", "--config.train.epochs=1"], "error: --config has no field 'train'"),
        ([f"--workdir={trained}", "--config.dataset.normal=1"], "error: --config has no field 'normal'"),
        (
            [f"--workdir={trained}", "--alphas=1", "--config.dataset.severity=5"],
            "error: out: missing, expected a folder for results with other dataset.severity, alphas",
        ),
    ):
        done = programs.run_quickly("evaluate", *arguments)
        assert done.returncode == 1
        assert done.stdout == ""
        assert done.stderr.startswith(line)
        assert "Traceback" not in done.stderr
