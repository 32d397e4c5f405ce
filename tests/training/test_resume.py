"""However a run is stopped, the same command goes on and ends in the same bits as a run that never was."""

import signal
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import programs
import pytest

from gnl_jax.config_io import load_config
from gnl_jax.data.load import load_task
from gnl_jax.detection.detector import predict
from gnl_jax.evaluation.evaluate import restore_detector

pytestmark = pytest.mark.slow  # some twenty processes; one kill and one signal: test_stopped.py
STEPS = 9
RUN = (*programs.SMALL, "--config.train.epochs=3")
EAGER = (*RUN, "--config.train.checkpoint_seconds=0")  # a checkpoint after every step


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory):
    folder = tmp_path_factory.mktemp("uninterrupted")
    done = programs.run("train", *RUN, f"--workdir={folder}")
    assert done.returncode == 0, done.stderr
    assert done.stdout == f"trained {STEPS} steps: {folder}\n"
    return folder


class Life:
    """One process of a training that is going to be stopped."""

    def __init__(self, workdir):
        self.workdir, self.before = workdir, newest(workdir)
        self.process = subprocess.Popen(
            programs.command("train", *EAGER, f"--workdir={workdir}"),
            env=programs.environment(),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.said = ""

    def wait_for_line(self, text: str) -> None:
        for line in self.process.stderr:
            self.said += line
            if text in line:
                return
        raise AssertionError(f"ended without {text!r}: {self.said}")

    def wait_for_checkpoints(self, n: int) -> None:
        deadline = time.monotonic() + 200
        while newest(self.workdir) < self.before + n:
            assert self.process.poll() is None, self.process.stderr.read()
            assert time.monotonic() < deadline
            time.sleep(0.005)

    def end(self, number: int) -> int:
        self.process.send_signal(number)
        self.said += self.process.communicate(timeout=200)[1]
        return self.process.returncode


def newest(workdir) -> int:
    """The newest whole checkpoint; 0 without one."""
    folders = (workdir / "checkpoints" / "distillation").glob("*")
    return max((int(folder.name) for folder in folders if folder.name.isdecimal()), default=0)


def assert_same_run(workdir, reference) -> None:
    assert programs.metrics(workdir) == programs.metrics(reference)
    assert programs.saved_bits(workdir) == programs.saved_bits(reference)


def killed_five_times(workdir, seed: int) -> int:
    """Lives ended by SIGKILL at random moments, then one to the end; the step the last killed one had saved."""
    rng = np.random.default_rng(seed)
    for eager in rng.permutation([False, False, False, True, True]):
        life = Life(workdir)
        if eager:
            life.wait_for_checkpoints(1)
            time.sleep(rng.uniform(0, 0.5))  # somewhere in the next step or its save
        else:
            life.wait_for_line("steps ")
            time.sleep(rng.uniform(0, 2))  # somewhere in restoring, tracing, or the first step
        assert life.end(signal.SIGKILL) == -signal.SIGKILL
    saved = newest(workdir)
    done = programs.run("train", *EAGER, f"--workdir={workdir}")
    assert done.returncode == 0, done.stderr
    return saved


def stopped_by_signals(workdir) -> None:
    """Lives ended by SIGTERM, by Ctrl-C and by Ctrl-C twice, then one to the end."""
    life = Life(workdir)
    life.wait_for_checkpoints(1)
    assert life.end(signal.SIGTERM) == 128 + signal.SIGTERM
    assert f"stopped by signal 15 at step {newest(workdir)}; run the same command to resume\n" in life.said

    life = Life(workdir)
    life.wait_for_checkpoints(1)
    assert life.end(signal.SIGINT) == 128 + signal.SIGINT
    assert "stopping after this step; Ctrl-C again stops at once\n" in life.said
    assert f"stopped by signal 2 at step {newest(workdir)}; run the same command to resume\n" in life.said

    life = Life(workdir)
    life.wait_for_checkpoints(1)
    life.process.send_signal(signal.SIGINT)
    life.wait_for_line("stopping after this step")
    assert life.end(signal.SIGINT) == 128 + signal.SIGINT
    assert "interrupted; what was saved stands\n" in life.said
    assert "stopped by signal" not in life.said
    assert "Traceback" not in life.said
    assert newest(workdir) < STEPS

    assert programs.run("train", *EAGER, f"--workdir={workdir}").returncode == 0


@pytest.fixture(scope="module")
def stopped(uninterrupted, tmp_path_factory):
    """What becomes of three runs that are stopped again and again, side by side: a start mostly keeps one core busy."""
    folders = [tmp_path_factory.mktemp(name) / "run" for name in ("killed", "killed_too", "signalled")]
    with ThreadPoolExecutor(3) as pool:
        futures = [pool.submit(killed_five_times, folders[i], i) for i in range(2)]
        futures.append(pool.submit(stopped_by_signals, folders[2]))
    return list(zip(folders, futures))


def test_killed_at_ten_random_moments(uninterrupted, stopped):
    for workdir, future in stopped[:2]:
        assert 0 < future.result() < STEPS  # there was something to go on from, and something left to do
        assert_same_run(workdir, uninterrupted)


def test_stopped_by_signals(uninterrupted, stopped):
    workdir, future = stopped[2]
    future.result()
    assert_same_run(workdir, uninterrupted)


def test_scores_are_the_same(uninterrupted, stopped):
    detectors = [restore_detector(folder, matching="efdm")[0] for folder in (uninterrupted, stopped[0][0])]
    test = load_task(load_config(uninterrupted).dataset, seed=0).load_test("photo")
    scores = [predict(replace(detectors[0], variables=d.variables), test.images[:32]).score for d in detectors]
    assert scores[0].tobytes() == scores[1].tobytes()
