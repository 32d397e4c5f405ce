"""Jigsaw puzzles: the set of orders against brute force, the tiles against loops over pixels."""

import itertools

import jax
import numpy as np
import pytest
import signatures
from jax import jit

from gnl_jax.images.jigsaw import _spread, apply_order, jigsaw_permutations, shuffle_tiles


def photographs(n, size, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (n, size, size, 3), dtype=np.uint8)


def by_loops(image, permutation):
    """Pixel (y, x) of the result, one after the other; beyond the border the nearest pixel counts."""
    side = image.shape[0]
    tile = -(-side // 3)
    out = np.empty_like(image)
    for y, x in np.ndindex(side, side):
        source = permutation[y // tile * 3 + x // tile]
        row = source // 3 * tile + y % tile
        column = source % 3 * tile + x % tile
        out[y, x] = image[min(row, side - 1), min(column, side - 1)]
    return out


def distances(permutations):
    return [sum(a != b for a, b in zip(p, q)) for p, q in itertools.combinations(permutations.tolist(), 2)]


def test_permutations_are_far_apart():
    permutations = jigsaw_permutations()
    assert permutations.shape == (31, 9)
    assert permutations.dtype == np.int32
    np.testing.assert_array_equal(permutations[0], np.arange(9))
    np.testing.assert_array_equal(np.sort(permutations, axis=1), np.tile(np.arange(9), (31, 1)))
    # Nine permutations of nine can differ everywhere, as the rows of a Latin square do, but no more than nine.
    assert set(distances(permutations[:9])) == {9}
    assert min(distances(permutations)) == 7
    random = np.stack([np.random.default_rng(i).permutation(9) for i in range(31)])
    assert min(distances(random)) < 6


def test_permutations_depend_on_the_seed_and_nothing_else():
    first = jigsaw_permutations(5, seed=1)
    jigsaw_permutations.cache_clear()
    again = jigsaw_permutations(5, seed=1)
    np.testing.assert_array_equal(first, again)
    assert np.any(first != jigsaw_permutations(5, seed=2))
    np.testing.assert_array_equal(jigsaw_permutations()[:6], jigsaw_permutations(5))
    with pytest.raises(ValueError, match="read-only"):
        again[0, 0] = 1
    # Weights of a trained head stand for these orders: another set would make them worthless.
    np.testing.assert_array_equal(jigsaw_permutations()[1], [7, 0, 4, 8, 3, 6, 1, 5, 2])


def test_greedy_choice_is_the_best_of_all():
    """24 candidates: at each step no other is farther from the nearest chosen one, and then from all of them."""
    candidates = np.array(list(itertools.permutations(range(4))), np.int8)
    chosen = _spread(candidates, 24)
    assert sorted(chosen) == list(range(24))
    for step in range(1, 24):

        def quality(candidate, step=step):
            apart = [int(np.sum(candidates[candidate] != candidates[other])) for other in chosen[:step]]
            return min(apart), sum(apart)

        assert quality(chosen[step]) == max(map(quality, range(24)))


@pytest.mark.parametrize("size", [3, 8, 9, 32])
def test_tiles_go_where_loops_put_them(size):
    image = photographs(1, size)[0]
    apply = jit(apply_order)
    for permutation in jigsaw_permutations()[[0, 1, 2, 30]]:
        np.testing.assert_array_equal(np.asarray(apply(image, permutation)), by_loops(image, permutation))
    np.testing.assert_array_equal(np.asarray(apply(image, np.arange(9))), image)


def test_shuffled_batch():
    images, key, permutations = photographs(60, 8), jax.random.key(3), jigsaw_permutations()
    shuffle = jit(lambda key, images: shuffle_tiles(key, images, permutations, 0.5))
    shuffled, order = map(np.asarray, shuffle(key, images))
    assert shuffled.dtype == np.uint8
    assert order.dtype == np.int32
    for image, got, index in zip(images, shuffled, order):
        np.testing.assert_array_equal(got, by_loops(image, permutations[index]))
    # An image's order is its position's: neither the pixels nor the number of images change it.
    np.testing.assert_array_equal(np.asarray(shuffle(key, images[50:])[1]), order[:10])
    assert np.any(np.asarray(shuffle(jax.random.key(4), images)[1]) != order)


@pytest.mark.parametrize("identity", [0.0, 0.9, 1.0])
def test_orders_are_uniform_but_for_the_images_left_alone(identity):
    n, images = 31, np.zeros((20_000, 3, 3, 3), np.uint8)
    draw = jit(lambda key: shuffle_tiles(key, images, jigsaw_permutations(), identity)[1])
    frequencies = np.bincount(np.asarray(draw(jax.random.key(0))), minlength=n) / len(images)
    expected = np.full(n, (1 - identity) / n)
    expected[0] += identity
    # Five standard deviations of a count.
    assert np.all(np.abs(frequencies - expected) <= 5 * np.sqrt(expected * (1 - expected) / len(images)) + 1e-12)


@signatures.unchecked()
def test_errors():
    with pytest.raises(ValueError, match=r"^n: expected a number in \[1, 362879\], got 0"):
        jigsaw_permutations(0)
    permutations, images = np.arange(9)[None], photographs(1, 6)
    with pytest.raises(ValueError, match=r"^identity: expected a probability in \[0, 1\], got 1.5"):
        shuffle_tiles(jax.random.key(0), images, permutations, 1.5)
    with pytest.raises(ValueError, match=r"^images: expected uint8 \[b s s 3\], got float32 \[1, 6, 6, 3\]"):
        shuffle_tiles(jax.random.key(0), images.astype(np.float32), permutations, 0.5)
