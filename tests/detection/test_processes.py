"""A detector in other processes: pickled it is the same, and after a fork it says that it cannot compute."""

import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from bright import detector

from gnl_jax.detection import forks
from gnl_jax.detection.detector import Detector
from gnl_jax.detection.forks import ForkedError

ROOT = Path(__file__).parents[2]


def test_a_detector_without_a_record_cannot_be_pickled():
    with pytest.raises(ValueError, match="it was not calibrated"):
        pickle.dumps(Detector({}, lambda variables, images: None, 32))


def test_after_a_fork_it_says_so(monkeypatch):
    d = detector()
    monkeypatch.setattr(forks, "_state", {"used": False, "forked": False})
    forks._after_fork()
    assert d.inspect(np.zeros((32, 32, 3), np.uint8)).decision == "OK"  # nothing had been used: all is well
    forks.note_use()
    forks._after_fork()
    for compute in (
        lambda: d.inspect(np.zeros((32, 32, 3), np.uint8)),
        lambda: d(np.zeros((1, 32, 32, 3), np.uint8)),
        detector,
    ):
        with pytest.raises(ForkedError, match="JAX cannot compute after a fork"):
            compute()


FORK = """
import os, signal, sys, warnings
sys.path.insert(0, sys.argv[1])
warnings.simplefilter("ignore")
import numpy as np
from bright import detector
from gnl_jax.detection.forks import ForkedError
image = np.zeros((32, 32, 3), np.uint8)
d = detector()
d.inspect(image)
if not (child := os.fork()):
    signal.alarm(60)
    try:
        d.inspect(image)
    except ForkedError:
        os._exit(7)
    os._exit(0)
sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""


@pytest.mark.slow
def test_a_forked_child_does_not_hang():
    done = subprocess.run([sys.executable, "-c", FORK, str(ROOT / "tests")], cwd=ROOT, timeout=300)
    assert done.returncode == 7
