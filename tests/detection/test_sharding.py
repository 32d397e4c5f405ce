"""A bank's rows divided over virtual devices of a CPU: the scores of one device."""

import os
import subprocess
import sys
from pathlib import Path

import jax
import numpy as np
import pytest

from gnl_jax.detection.sharding import bank_mesh, shard_banks

HERE = Path(__file__).parent


@pytest.mark.slow
def test_any_number_of_devices_scores_as_one(tmp_path):
    environment = dict(os.environ)
    environment["XLA_FLAGS"] += " --xla_force_host_platform_device_count=4"
    environment["PYTHONPATH"] = str(HERE.parent)
    command = [sys.executable, str(HERE / "sharding_program.py"), str(tmp_path / "scores.npz")]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr[-3000:]
    found = dict(np.load(tmp_path / "scores.npz"))
    assert len(found) == 3 * 3 * 4
    for name, value in found.items():
        how, _, what = name.split("/")
        np.testing.assert_allclose(value, found[f"{how}/1/{what}"], rtol=1e-5, atol=1e-6, err_msg=name)
        assert np.all(value > (0 if what != "map" else -1))


def test_one_device_and_other_methods_keep_their_variables():
    variables = {"banks": {"0": {}}}
    assert bank_mesh(1) is None
    assert bank_mesh(4) is None or jax.device_count() > 1
    assert shard_banks(variables, None) is variables
    student = {"student": {}}
    assert shard_banks(student, "no mesh is looked at") is student
