"""The program that compares a fit's estimate with its greatest memory; the fit itself is tested elsewhere."""

import sys

import numpy as np
import pytest

from experiments.speed.fit_memory import SAID, draw_images, run_alone
from gnl_jax.data.pixels import read_image
from gnl_jax.detection import fit_memory
from gnl_jax.detection.options import FitOptions, inspection_config


def test_what_a_fit_says_is_understood():
    config, said = inspection_config(), []
    config.dataset.size = 32
    fit_memory.planned(config, 20, options=FitOptions(memory=9.0), workdir=None, method=None, say=said.append)
    assert SAID.search(said[0])[1] == "about"
    assert 0.3 < float(SAID.search(said[0])[2]) < 2


@pytest.mark.slow
def test_the_greatest_memory_of_a_process(tmp_path):
    """Whatever the process takes that asks for it."""
    held = np.ones(2 * 10**8)  # 1.6 GB
    text, peak = run_alone([sys.executable, "-c", "print(len(b'x' * 800_000_000))"], cache=str(tmp_path))
    assert text == "800000000\n"
    assert 8e8 < peak < 9e8 < held.nbytes
    with pytest.raises(ValueError, match="exit status 3"):
        run_alone([sys.executable, "-c", "raise SystemExit(3)"], cache=str(tmp_path))


def test_pictures_are_like_each_other_and_not_the_same(tmp_path):
    draw_images(tmp_path, n=3, size=32)
    images = [read_image(path).astype(float) for path in sorted(tmp_path.iterdir())]
    assert [image.shape for image in images] == [(32, 32, 3)] * 3
    assert 1 < np.abs(images[0] - images[1]).mean() < 30
