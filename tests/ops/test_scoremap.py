"""Score maps against SciPy's Gaussian filter and a bilinear upsampling written out pixel by pixel."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import ndimage
from scipy.spatial.distance import cosine

from gnl_jax.ops.scoremap import gaussian_matrix, image_score, score_map, upsample_matrix

CASES = {
    "square": ((32, 32), ((8, 8), (4, 4), (2, 2))),  # the filter's radius is 16
    "tall": ((96, 64), ((24, 16), (12, 8), (6, 4))),
    "wide": ((32, 64), ((8, 16), (4, 8), (2, 4))),
    "single": ((32, 32), ((8, 8), (1, 1))),
    "line": ((32, 64), ((1, 4),)),
}


def stages(sizes, seed=0):
    """ReLU-like features, some of them all zero, of two images."""
    rng = np.random.default_rng(seed)
    levels = [np.maximum(rng.standard_normal((2, *size, 8)), 0).astype(np.float32) for size in sizes]
    levels[0][0, 0, 0] = 0
    return levels


def upsampled(image, size):
    """Bilinear with aligned corners: output i reads position i (n_in - 1) / (n_out - 1)."""
    result = np.empty(size)
    for i, j in np.ndindex(size):
        y, x = (k * (n - 1) / (m - 1) for k, n, m in zip((i, j), image.shape, size, strict=True))
        top, left = int(y), int(x)
        bottom, right = min(top + 1, image.shape[0] - 1), min(left + 1, image.shape[1] - 1)
        upper = (1 - (x - left)) * image[top, left] + (x - left) * image[top, right]
        lower = (1 - (x - left)) * image[bottom, left] + (x - left) * image[bottom, right]
        result[i, j] = (1 - (y - top)) * upper + (y - top) * lower
    return result


def distance(a, b):
    return cosine(a, b) if a.any() and b.any() else 1.0


def expected_maps(teacher, student, size):
    total = np.zeros((2, *size))
    for e, d in zip(teacher, student, strict=True):
        for b in range(2):
            level = np.array(
                [[distance(*pair) for pair in zip(*rows)] for rows in zip(np.float64(e[b]), np.float64(d[b]))]
            )
            total[b] += upsampled(level, size)
    return np.stack([ndimage.gaussian_filter(image, sigma=4) for image in total])


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES)
def test_score_map_equals_scipy(case):
    size, sizes = CASES[case]
    teacher, student = stages(sizes), stages(sizes, seed=1)
    expected = expected_maps(teacher, student, size)
    got = score_map(teacher, student, size=size)
    assert got.dtype == jnp.float32
    np.testing.assert_allclose(got, expected, atol=1e-6, rtol=0)
    np.testing.assert_array_equal(image_score(got), np.asarray(got).max((1, 2)))
    with jax.enable_x64(True):
        got = score_map([np.float64(e) for e in teacher], [np.float64(d) for d in student], size=size)
        np.testing.assert_allclose(got, expected, atol=1e-12, rtol=0)


def test_equal_features_score_zero():
    levels = stages(CASES["square"][1])
    levels[0][0, 0, 0] = 1  # a zero vector has no direction to agree in
    np.testing.assert_allclose(
        score_map([x + 0.1 for x in levels], [x + 0.1 for x in levels], size=(32, 32)), 0, atol=1e-6
    )


@pytest.mark.slow
def test_images_do_not_influence_each_other():
    _, sizes = CASES["square"]
    teacher, student = stages(sizes), stages(sizes, seed=1)
    both = score_map(teacher, student, size=(32, 32))
    alone = score_map([e[1:] for e in teacher], [d[1:] for d in student], size=(32, 32))
    np.testing.assert_allclose(both[1:], alone, atol=1e-6)


def test_bfloat16_features_give_a_float32_map():
    _, sizes = CASES["square"]
    teacher, student = ([jnp.asarray(x, jnp.bfloat16) for x in stages(sizes, seed)] for seed in (0, 1))
    got = score_map(teacher, student, size=(32, 32))
    assert got.dtype == jnp.float32
    wide = [[x.astype(jnp.float32) for x in levels] for levels in (teacher, student)]
    np.testing.assert_array_equal(got, score_map(*wide, size=(32, 32)))


@pytest.mark.parametrize(("size_out", "size_in"), [(32, 1), (32, 2), (32, 8), (8, 8), (256, 64)])
def test_upsampling_keeps_corners_and_constants(size_out, size_in):
    matrix = upsample_matrix(size_out, size_in)
    np.testing.assert_allclose(matrix.sum(1), 1, atol=1e-14)
    values = np.random.default_rng(0).standard_normal(size_in)
    np.testing.assert_allclose((matrix @ values)[[0, -1]], values[[0, -1]], atol=1e-14)


@pytest.mark.parametrize("size", [1, 2, 7, 16, 33, 100])
def test_smoothing_matrix_equals_scipy_whatever_the_size(size):
    """Below 16 pixels the window reaches over both edges, more than once."""
    expected = ndimage.gaussian_filter1d(np.eye(size), 4, axis=0)
    np.testing.assert_allclose(gaussian_matrix(size), expected, atol=1e-15)
