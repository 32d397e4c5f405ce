"""The examples run as they are shown."""

import runpy
from pathlib import Path

import numpy as np
import pytest

from gnl_jax.data.digits import digits_task

EXAMPLES = Path(__file__).parent.parent / "examples"


@pytest.mark.slow
def test_a_loop_of_ones_own():
    assert len((EXAMPLES / "custom_loop.py").read_text().splitlines()) <= 75
    names = runpy.run_path(str(EXAMPLES / "custom_loop.py"))
    images = digits_task("0", size=32, shifts=()).train
    *trained, history = names["train"](images, steps=4)
    assert len(history) == 4
    assert history[-1] < history[0]
    scores = np.asarray(names["score"](*trained, images[:3]))
    assert scores.shape == (3,)
    assert np.isfinite(scores).all()
    assert len(set(scores.tolist())) == 3
