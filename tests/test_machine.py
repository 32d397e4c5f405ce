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
