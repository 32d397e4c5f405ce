"""Parts that judge are held out from every fit, and the same for all methods."""

import numpy as np
import pytest

from gnl_jax.detection.judging import divide_to_judge, judging_parts, near_copies_of_fit
from gnl_jax.detection.parts import GoodImages
from gnl_jax.detection.threshold import RateError


def good(parts):
    n = len(parts)
    images = np.random.default_rng(0).integers(0, 256, (n, 32, 32, 3), np.uint8)
    return GoodImages(images, tuple(f"{i}.png" for i in range(n)), tuple(parts), tuple(map(str, range(n))))


def test_no_part_is_on_both_sides():
    images = good([str(i // 2) for i in range(120)])
    fit, judging = divide_to_judge(images, seed=0)
    assert len(set(judging.parts)) == 20
    assert not set(fit.parts) & set(judging.parts)
    assert sorted(fit.names + judging.names) == sorted(images.names)
    again = divide_to_judge(images, seed=0)
    assert again.judging.names == judging.names
    assert divide_to_judge(images, seed=1).judging.names != judging.names


@pytest.mark.parametrize("n", [27, 28, 40, 46, 47, 59, 60, 61, 100, 1000])
def test_how_many_judge(n):
    judging = judging_parts(n)
    assert 9 <= judging <= 150
    assert n - judging >= 18
    assert n < 47 or judging >= 20


def test_too_few():
    with pytest.raises(RateError, match="got good images of 26 parts, expected at least 27"):
        judging_parts(26)


def test_frames_in_a_row_are_named():
    images = good(list(map(str, range(60))))
    assert near_copies_of_fit(divide_to_judge(images, seed=0)) == ""
    (j,) = [i for i, name in enumerate(images.names) if name == divide_to_judge(images, seed=0).judging.names[0]]
    (i,) = [i for i, name in enumerate(images.names) if name == divide_to_judge(images, seed=0).fit.names[0]]
    images.images[j] = images.images[i]
    assert "1 of 20 judging images are almost the same picture" in near_copies_of_fit(divide_to_judge(images, seed=0))
