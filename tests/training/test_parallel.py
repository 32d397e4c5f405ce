"""Several devices and several processes train as one device does; virtual devices of a CPU stand in for real ones."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import jax
import numpy as np
import pytest
import tiny_method

from gnl_jax.training import parallel
from gnl_jax.training.checkpoint import Checkpoints

HERE = Path(__file__).parent
STEPS = 4000  # of the tiny method: two a epoch


def start(program: str, *arguments, devices: int, join: str = "") -> subprocess.Popen:
    environment = dict(os.environ)
    environment["XLA_FLAGS"] += f" --xla_force_host_platform_device_count={devices}"
    environment |= {"PYTHONPATH": os.pathsep.join([str(HERE.parent), str(HERE)]), "JAX_NUMPY_RANK_PROMOTION": "raise"}
    environment |= {"JOIN": join} if join else {}
    command = [sys.executable, str(HERE / program), *map(str, arguments)]
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def start_two(program: str, *arguments) -> list[subprocess.Popen]:
    """Two processes of two devices each."""
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = free.getsockname()[1]
    return [start(program, *arguments, devices=2, join=f"localhost:{port},2,{i}") for i in range(2)]


def end(*processes: subprocess.Popen, status: int = 0) -> list[str]:
    """Waits for processes that end with this status; what each printed."""
    results = [process.communicate(timeout=600) for process in processes]
    for process, (_, errors) in zip(processes, results):
        assert process.returncode == status, errors[-3000:]
    return [printed for printed, _ in results]


def agrees(arrays, case: str, reference, as_case: str, *, tolerance: float) -> None:
    names = [name.removeprefix(f"{as_case}/") for name in reference if name.startswith(f"{as_case}/")]
    assert len(names) > 40
    for name in names:
        a, b = arrays[f"{case}/{name}"], reference[f"{as_case}/{name}"]
        assert np.linalg.norm(a - b) <= tolerance * np.linalg.norm(b), (case, name)


@pytest.mark.slow
def test_steps_on_any_number_of_devices_are_those_of_one(tmp_path):
    one, two = tmp_path / "one.npz", tmp_path / "two.npz"
    cases = ["float64/1", "float64/2", "float64/4", "float64/8", "float32/1", "float32/8"]
    end(start("parallel_program.py", one, *cases, devices=8))
    end(*start_two("parallel_program.py", two, "float64/4", "float32/4"))
    one, two = (dict(np.load(path)) for path in (one, two))
    for case in cases:
        kind = case.split("/")[0]
        agrees(one, case, one, f"{kind}/1", tolerance=1e-8 if kind == "float64" else 1e-4)
    agrees(two, "float64/4", one, "float64/1", tolerance=1e-8)
    agrees(two, "float32/4", one, "float32/1", tolerance=1e-4)


@pytest.mark.slow
def test_each_of_four_devices_computes_a_quarter():
    """A batch that is divided stays divided through every layer: none is gathered and computed everywhere."""
    (printed,) = end(start("division_program.py", 1, 4, devices=4))
    alone, divided = map(float, printed.split())
    assert 0.25 < divided / alone < 0.28


def tiny(devices: int) -> tuple[int, str, str]:
    train = {"batch_size": 4, "epochs": STEPS // 2, "devices": devices, "checkpoint_seconds": 1000.0}
    return 7, "{}", json.dumps(train)


def newest(workdir: Path):
    """The last checkpoint as this process, of one device, restores it."""
    with Checkpoints(workdir / "checkpoints" / "only") as checkpoints:
        return checkpoints.restore(tiny_method.init(jax.random.key(0), None, None))


@pytest.mark.slow
def test_two_processes_stop_together_and_one_goes_on(tmp_path):
    """One of two processes is asked to stop: both leave after the same checkpoint; other devices can go on from it."""
    alone, shared = tmp_path / "alone", tmp_path / "shared"
    end(start("tiny_program.py", alone, *tiny(1), devices=1))
    processes = start_two("tiny_program.py", shared, *tiny(0))
    for line in processes[1].stderr:
        if "steps 0 to" in line:
            break
    time.sleep(2)
    processes[1].send_signal(signal.SIGTERM)
    end(*processes, status=128 + signal.SIGTERM)
    stopped = newest(shared)
    assert 0 < stopped.step < STEPS
    on_two = tmp_path / "two.npz"
    end(start("parallel_program.py", on_two, "restore/2", shared / "checkpoints" / "only", devices=2))
    arrays = np.load(on_two)
    for i, leaf in enumerate(jax.tree.leaves(stopped.state)):
        np.testing.assert_array_equal(arrays[str(i)], leaf)
    (printed,) = end(start("tiny_program.py", shared, *tiny(2), devices=2))
    assert printed == f"{STEPS}\n"
    logs = [[json.loads(line) for line in (w / "metrics.jsonl").read_text().splitlines()] for w in (alone, shared)]
    for log in logs:
        assert [row["step"] for row in log] == list(range(1, STEPS + 1))
    assert [row["seen"] for row in logs[1]] == [row["seen"] for row in logs[0]]
    for a, b in zip(*logs):
        assert b["loss"] == pytest.approx(a["loss"], rel=1e-2)
    for a, b in zip(*(jax.tree.leaves(newest(w).state) for w in (alone, shared)), strict=True):
        np.testing.assert_allclose(b, a, rtol=1e-2, atol=1e-3)


@pytest.mark.slow
def test_jobs_on_several_devices_train_as_on_one(tmp_path):
    """Six runs on four devices: three of them take two each."""
    one, three = tmp_path / "one", tmp_path / "three"
    end(start("parallel_program.py", tmp_path / "1.npz", "jobs/1", one, devices=1))
    end(start("parallel_program.py", tmp_path / "3.npz", "jobs/4", three, devices=4))
    for i in range(6):
        states = []
        for folder in (one, three):
            with Checkpoints(folder / str(i) / "checkpoints" / "second") as checkpoints:
                states.append(checkpoints.restore(tiny_method.init(jax.random.key(0), None, None)))
        assert states[0].step == states[1].step
        for a, b in zip(*(jax.tree.leaves(s.state) for s in states), strict=True):
            np.testing.assert_allclose(b, a, rtol=1e-5, atol=1e-7)


def test_as_many_devices_as_divide_the_jobs(monkeypatch):
    monkeypatch.setattr(parallel, "device_mesh", lambda count: count)
    monkeypatch.setattr(jax, "device_count", lambda: 4)
    assert parallel.job_mesh(0, 6) == 3
    assert parallel.job_mesh(2, 6) == 2
    assert parallel.job_mesh(0, 8) == 4
    assert parallel.job_mesh(0, 5) is None
    assert parallel.job_mesh(1, 4) is None


def test_what_cannot_be_divided():
    with pytest.raises(ValueError, match=r"train\.devices: got 2, expected 1 to 1 \(0: all of them\)"):
        parallel.make_mesh(2, batch_size=4)
    with pytest.raises(ValueError, match="distributed: got 'here', expected HOST:PORT,COUNT,INDEX or auto"):
        parallel.join("here")
    with pytest.raises(ValueError, match="expected HOST:PORT"):
        parallel.join("localhost:1,2,2")
    assert parallel.make_mesh(1, batch_size=3) is None
    assert parallel.any_process(True, False) == (True, False)
