"""Threads are bound to cores where they can be, and what a process may use is what is counted."""

import json
import os
import subprocess
import sys

import pytest

from gnl_jax import machine

# Bound after something was computed; nothing to bind before.
BOUND = """
import json, os
import jax, jax.numpy as jnp
from gnl_jax.machine import keep_threads_apart, usable_cores
before = keep_threads_apart()
jnp.ones(3).block_until_ready()
bound = keep_threads_apart()
tasks = [int(name) for name in os.listdir("/proc/self/task")]
names = {task: open(f"/proc/self/task/{task}/comm").read().strip() for task in tasks}
cores = sorted(tuple(os.sched_getaffinity(task)) for task, name in names.items() if name == "tf_XLAEigen")
print(json.dumps([before, bound, usable_cores(), cores, sorted(os.sched_getaffinity(0))]))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="threads are bound on Linux")
def test_each_thread_that_computes_has_a_core_of_its_own():
    done = subprocess.run([sys.executable, "-c", BOUND], capture_output=True, text=True, timeout=100)
    assert done.returncode == 0, done.stderr
    before, bound, usable, cores, own = json.loads(done.stdout)
    assert before == 0
    assert bound == usable
    assert cores == [[core] for core in own]  # the process itself may still use all of them


def test_nothing_is_bound_elsewhere(monkeypatch):
    monkeypatch.delattr(os, "sched_setaffinity", raising=False)
    assert machine.keep_threads_apart() == 0


def test_a_thread_that_has_ended_has_no_name(tmp_path):
    assert machine._name(tmp_path / "4711") == ""


ZEN_4 = {"vendor_id": "AuthenticAMD", "cpu family": "25", "flags": "avx2 avx512f avx512bw"}


@pytest.mark.parametrize(
    ("cpu", "numpy", "expected"),
    [
        (ZEN_4, "2.4.6", {"NPY_DISABLE_CPU_FEATURES": "X86_V4"}),
        (ZEN_4, "2.10.0rc1", {"NPY_DISABLE_CPU_FEATURES": "X86_V4"}),
        (ZEN_4, "2.3.5", {"NPY_DISABLE_CPU_FEATURES": "AVX512_SKX"}),
        (ZEN_4 | {"flags": "avx2"}, "2.4.6", {}),  # Zen 3
        (ZEN_4 | {"cpu family": "26"}, "2.4.6", {}),  # Zen 5
        (ZEN_4 | {"vendor_id": "GenuineIntel"}, "2.4.6", {}),
        ({}, "2.4.6", {}),  # another system
    ],
)
def test_numpy_sorts_without_avx512_on_zen_4_alone(cpu, numpy, expected, monkeypatch):
    monkeypatch.setattr(machine, "_cpuinfo", lambda: cpu)
    monkeypatch.setattr(machine.importlib.metadata, "version", lambda name: numpy)
    assert machine.numpy_settings() == expected


@pytest.mark.skipif(not machine.numpy_settings(), reason="this processor sorts fast as it is")
def test_numpy_knows_what_it_is_told():
    command = [sys.executable, "-W", "error", "-c", "import numpy"]
    done = subprocess.run(command, env=dict(os.environ) | machine.numpy_settings(), capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
