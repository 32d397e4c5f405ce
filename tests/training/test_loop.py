"""The mechanics of training, with a method that takes milliseconds: stops, groups of steps, epochs, what is refused."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import jax
import numpy as np
import pytest
import tiny_method
from tiny_method import make_config, make_task

from gnl_jax.data.feed import make_schedule
from gnl_jax.training import loop
from gnl_jax.training.checkpoint import CheckpointError, Checkpoints
from gnl_jax.training.loop import TrainingError, train
from gnl_jax.training.metrics_log import MetricsLog


@pytest.fixture
def method(monkeypatch):
    """method(**options) makes `train` train that tiny method."""

    def set_method(**options):
        monkeypatch.setattr(loop, "build_method", lambda config, frozen: tiny_method.make_method(config, **options))

    set_method()
    return set_method


def rows(workdir: Path) -> list[dict]:
    lines = [json.loads(line) for line in (workdir / "metrics.jsonl").read_text().splitlines()]
    return [{name: value for name, value in line.items() if name != "seconds"} for line in lines]


def bits(state) -> list[bytes]:
    return [np.asarray(leaf).tobytes() for leaf in jax.tree.leaves(state)]


def newest(workdir: Path, phase: str = "only") -> int | None:
    with Checkpoints(workdir / "checkpoints" / phase) as checkpoints:
        return checkpoints.latest_step()


class Crash(Exception):
    pass


@pytest.fixture
def crash_at(monkeypatch):
    """crash_at(n): the n-th line of metrics from now on is never written; crash_at(0): nothing goes wrong any more."""
    append, left = MetricsLog.append, 0

    def failing(self, row):
        nonlocal left
        left -= 1
        if left == 0:
            raise Crash
        append(self, row)

    def set_left(n):
        nonlocal left
        left = n

    monkeypatch.setattr(MetricsLog, "append", failing)
    return set_left


@pytest.mark.parametrize(("group", "crashes"), [pytest.param(1, (2, 8, 15), marks=pytest.mark.slow), (3, (4, 11))])
def test_crashed_in_any_phase(method, crash_at, tmp_path, group, crashes):
    method(phases=("first", "second"))
    config, task = make_config(steps_per_dispatch=group), make_task(7)
    whole = train(config, tmp_path / "whole", task=task)
    for crash in crashes:
        folder = tmp_path / str(crash)
        crash_at(crash)
        with pytest.raises(Crash):
            train(config, folder, task=task)
        crash_at(0)
        resumed = train(config, folder, task=task)
        assert resumed.steps == whole.steps == 16
        assert rows(folder) == rows(tmp_path / "whole")
        assert bits(resumed.state) == bits(whole.state)


def test_metrics_of_every_step(method, tmp_path):
    method(phases=("first", "second"))
    train(make_config(), tmp_path, task=make_task(5))
    found = rows(tmp_path)
    assert [row["step"] for row in found] == list(range(1, 13))
    assert [row["phase"] for row in found] == ["first"] * 6 + ["second"] * 6
    assert [row["epoch"] for row in found] == [0, 0, 0, 1, 1, 1] * 2
    assert [row["seen"] for row in found] == [2, 2, 1] * 4
    lines = (tmp_path / "metrics.jsonl").read_text().splitlines()
    assert all(json.loads(line)["seconds"] > 0 for line in lines)


@pytest.mark.parametrize("group", [3, 5, 100])
def test_steps_per_dispatch_change_nothing(method, tmp_path, group):
    """Groups straddle the end of an epoch (four steps), and the last one is shorter."""
    task = make_task(7)
    single = train(make_config(steps_per_dispatch=1), tmp_path / "1", task=task)
    grouped = train(make_config(steps_per_dispatch=group), tmp_path / "n", task=task)
    for one, other in zip(rows(tmp_path / "1"), rows(tmp_path / "n"), strict=True):
        assert one == other | {"loss": pytest.approx(other["loss"], rel=1e-6)}
        assert one["loss"] == pytest.approx(other["loss"], rel=1e-6)
    for one, other in zip(jax.tree.leaves(single.state), jax.tree.leaves(grouped.state)):
        np.testing.assert_allclose(one, other, rtol=1e-5)


def test_longer_training_goes_on(method, tmp_path, caplog):
    caplog.set_level("INFO", logger="absl")
    task = make_task(6)
    train(make_config(epochs=1), tmp_path / "a", task=task)
    longer = train(make_config(epochs=3), tmp_path / "a", task=task)
    assert "only: steps 3 to 9" in caplog.messages
    at_once = train(make_config(epochs=3), tmp_path / "b", task=task)
    assert rows(tmp_path / "a") == rows(tmp_path / "b")
    assert bits(longer.state) == bits(at_once.state)
    with pytest.raises(ValueError, match=r"train.epochs: saved 3, requested 2"):
        train(make_config(epochs=2), tmp_path / "a", task=task)


def test_finished_training_is_left_alone(method, tmp_path, caplog):
    caplog.set_level("INFO", logger="absl")
    task = make_task(6)
    first = train(make_config(), tmp_path, task=task)
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "checkpoints").rglob("*")}
    caplog.clear()
    again = train(make_config(), tmp_path, task=task)
    assert "only: all 6 steps were taken before" in caplog.messages
    assert (again.steps, bits(again.state)) == (first.steps, bits(first.state))
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "checkpoints").rglob("*")} == before


def test_other_settings_are_refused(method, tmp_path):
    train(make_config(), tmp_path, task=make_task(6))
    other = make_config(learning_rate=0.1)
    other.eval.alpha = 0.7  # this may differ
    with pytest.raises(ValueError, match=r"\(train.learning_rate: saved 0.005, requested 0.1\)"):
        train(other, tmp_path, task=make_task(6))


def test_other_images_are_refused(method, tmp_path):
    train(make_config(), tmp_path, task=make_task(8))
    with pytest.raises(TrainingError, match="checkpoint is of step 8, but 4 training images make 4 steps"):
        train(make_config(), tmp_path, task=make_task(4))


@pytest.mark.parametrize("group", [1, 4])
def test_nan_loss_stops(method, tmp_path, group):
    method(nan_loss_at=6)
    order = make_schedule(10, batch_size=2, seed=0).batch(6)[0]
    message = rf"^only, step 7: \{{'loss': nan.*images \[{min(order)}, {max(order)}\]$"
    with pytest.raises(TrainingError, match=message):
        train(make_config(steps_per_dispatch=group), tmp_path, task=make_task(10))
    good = 6 if group == 1 else 4
    assert len(rows(tmp_path)) == newest(tmp_path) == good
    with Checkpoints(tmp_path / "checkpoints" / "only") as checkpoints:
        restored = checkpoints.restore(tiny_method.init(jax.random.key(0), None, None))
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(restored.state))


def test_nan_in_the_state_is_not_saved(method, tmp_path):
    method(nan_gradient_at=3)
    with pytest.raises(ValueError, match=r"^state of step 4: adam/0/mu holds a NaN"):
        train(make_config(), tmp_path, task=make_task(10))
    assert newest(tmp_path) == 3


def test_remainder_of_one_is_left_out_and_said(method, tmp_path, caplog):
    caplog.set_level("INFO", logger="absl")
    method(min_valid=2)
    assert train(make_config(), tmp_path, task=make_task(5)).steps == 4
    assert any(line.startswith("only: 1 of 5 images are left out of each epoch") for line in caplog.messages)
    assert [row["seen"] for row in rows(tmp_path)] == [2] * 4


def test_fewer_images_than_a_batch(method, tmp_path):
    assert train(make_config(batch_size=8), tmp_path / "a", task=make_task(3)).steps == 2
    assert [row["seen"] for row in rows(tmp_path / "a")] == [3, 3]
    method(min_valid=2)
    with pytest.raises(ValueError, match="training images: got 1, expected at least 2"):
        train(make_config(batch_size=8), tmp_path / "b", task=make_task(1))
    assert not (tmp_path / "b" / "config.json").exists()


def test_more_anchors_than_images(method, tmp_path):
    config = make_config()
    config.eval.update(anchor="random", anchors=7)
    with pytest.raises(ValueError, match=r"eval.anchors: got 7, expected 1 to 6"):
        train(config, tmp_path, task=make_task(6))
    assert not (tmp_path / "config.json").exists()
    config.eval.anchors = 6
    train(config, tmp_path, task=make_task(6))


def damage(checkpoint: Path) -> None:
    """Changes one digit in a checkpoint (test_checkpoint.py damages every file in every way)."""
    path = checkpoint / "record" / "metadata"
    path.write_text(path.read_text().replace('"seed": 0', '"seed": 1', 1))


def test_damaged_checkpoint_is_passed_over(method, tmp_path, caplog):
    task = make_task(10)
    whole = train(make_config(), tmp_path / "whole", task=task)
    shutil.copytree(tmp_path / "whole", tmp_path / "damaged")
    folder = tmp_path / "damaged" / "checkpoints" / "only"
    damage(folder / "10")
    again = train(make_config(), tmp_path / "damaged", task=task)
    assert any("damaged checkpoint 10 passed over" in line for line in caplog.messages)
    assert rows(tmp_path / "damaged") == rows(tmp_path / "whole")
    assert bits(again.state) == bits(whole.state)
    for step in ("9", "10"):
        damage(folder / step)
    with pytest.raises(CheckpointError, match="no checkpoint can be read"):
        train(make_config(), tmp_path / "damaged", task=task)


def program(workdir: Path, *, images: int = 10, faults=(), limit=(), **settings) -> subprocess.CompletedProcess:
    arguments = [workdir, images, json.dumps(dict(faults)), json.dumps(settings), *limit]
    command = [sys.executable, Path(__file__).parent / "tiny_program.py", *arguments]
    return subprocess.run(
        list(map(str, command)), env=os.environ | {"JAX_COMPILATION_CACHE_DIR": ""}, capture_output=True, text=True
    )


@pytest.mark.slow
def test_program_says_in_one_line_what_is_wrong(tmp_path):
    done = program(tmp_path, faults={"nan_loss_at": 6})
    assert done.returncode == 1
    assert re.search(r"\nerror: only, step 7: \{'loss': nan.*\n$", done.stderr)
    assert "Traceback" not in done.stderr
    assert newest(tmp_path) == 6


@pytest.mark.slow
def test_full_disk(tmp_path):
    """The largest file is one of the arrays, 12 KiB; what was saved before the disk was full stands."""
    assert program(tmp_path / "whole", epochs=3).returncode == 0
    assert program(tmp_path / "full", epochs=1).returncode == 0
    full = program(tmp_path / "full", limit=[6000], epochs=3)
    assert full.returncode == 1
    # Orbax divides a checkpoint into files as its threads come to it: one after the fifth may still find room.
    last_good = re.search(r"checkpoint not written .*; the last good step is (\d+)$", full.stderr.splitlines()[-1])
    assert 5 <= int(last_good[1]) == newest(tmp_path / "full") < 15
    done = program(tmp_path / "full", epochs=3)
    assert (done.returncode, done.stdout) == (0, "15\n")
    assert rows(tmp_path / "full") == rows(tmp_path / "whole")
