"""Where windows are, against brute force; how they are cut; their maps joined."""

import itertools

import numpy as np
import pytest

from gnl_jax.detection.boxes import defect_boxes, frame_map
from gnl_jax.detection.windows import Joined, Windows, cut_windows, grid_record, place_windows, read_grid, spaced
from gnl_jax.images.resize import resize
from gnl_jax.report.overlay import in_source

FRAME, REQUESTED = (70, 101), Windows(size=32, overlap=8)


def place(requested=REQUESTED, frame=FRAME, **options):
    return place_windows(requested, frame, **{"side": 32, **options})


def test_every_pixel_is_in_a_window_and_no_window_is_too_many():
    for length, window in itertools.product((32, 33, 64, 100, 257), (16, 17, 32)):
        for overlap in (0, 1, 5, window - 1):
            firsts = place_windows(Windows(size=window, overlap=overlap), (length, length), side=32).rows
            covered = np.zeros(length, int)
            for first in firsts:
                covered[first : first + window] += 1
            assert firsts[0] == 0
            assert firsts[-1] == length - window
            assert covered.min() >= 1
            assert all(b - a <= window - overlap for a, b in itertools.pairwise(firsts))
            if len(firsts) > 1:  # one fewer, however placed, would overlap by less
                assert (len(firsts) - 1) * window - (len(firsts) - 2) * overlap < length


@pytest.mark.parametrize("count", [1, 2, 3, 5])
@pytest.mark.parametrize("overlap", [None, 0, 4])
def test_as_many_windows_as_requested(count, overlap):
    grid = place(Windows(count=count, overlap=overlap), (200, 333))
    assert (len(grid.rows), len(grid.columns), grid.count) == (count, count, count**2)
    for firsts, window, length in zip((grid.rows, grid.columns), grid.window, (200, 333)):
        assert firsts[-1] + window == length
        least = window // 8 - 1 if overlap is None else overlap
        assert all(a + window - b >= least for a, b in itertools.pairwise(firsts))
    assert count > 1 or grid.window == (200, 333)


def test_windows_are_cut_where_they_are_and_become_squares():
    image = np.random.default_rng(0).integers(0, 256, (*FRAME, 3), np.uint8)
    grid = place(area=(10, 20, 60, 70))
    corners = [(10 + y, 20 + x) for y in grid.rows for x in grid.columns]
    expected = [image[y : y + 32, x : x + 32] for y, x in corners]
    np.testing.assert_array_equal(cut_windows(image, grid, range(grid.count)), expected)
    small = place(side=16)
    np.testing.assert_array_equal(cut_windows(image, small, [4])[0], resize(image[small.rows[1] :][:32, :32], 16))
    assert read_grid(grid_record(grid)) == grid


def joined(grid, whole):
    """The map joined of what each window shows of a map of the area."""
    together = Joined(grid)
    for i in range(grid.count):
        y, x = grid.corner(i)
        together.add(i, whole[y : y + grid.window[0], x : x + grid.window[1]])
    return together.result()


def test_a_map_that_no_window_changes_is_joined_to_itself():
    whole = np.random.default_rng(1).random(FRAME, np.float32)
    np.testing.assert_allclose(joined(place(), whole), whole, rtol=1e-6)
    one = place(Windows(count=1), (32, 32))
    np.testing.assert_array_equal(joined(one, whole[:32, :32]), whole[:32, :32])
    constant = np.full(FRAME, 0.3, np.float32)
    np.testing.assert_allclose(joined(place(), constant), constant, rtol=1e-6)


def test_windows_that_differ_fade_into_each_other_and_the_highest_score_stays():
    grid, together = (
        place(Windows(size=32, overlap=16), (32, 48)),
        Joined(place(Windows(size=32, overlap=16), (32, 48))),
    )
    assert grid.columns == (0, 16)
    right = np.ones((32, 32), np.float32)
    right[3, 2] = 5.0  # where the left window weighs most
    together.add(0, np.zeros((32, 32), np.float32))
    together.add(1, right)
    found = together.result()
    assert found.max() == found[3, 18] == 5.0
    row = found[31]  # far from the peak
    assert (row[:16] < 1e-3).all()
    np.testing.assert_allclose(row[32:], 1.0, atol=1e-3)
    assert (np.diff(row) >= -1e-6).all()
    assert np.diff(row).max() < 0.1, "no seam"


def test_the_joined_map_has_the_networks_scale():
    grid = place(Windows(size=48, overlap=0), (96, 144))
    assert grid.map_shape == (64, 96)
    together = Joined(grid)
    for i in range(grid.count):
        together.add(i, np.full((32, 32), i, np.float32))
    np.testing.assert_array_equal(together.map[::32, ::32], np.arange(6).reshape(2, 3))


def test_boxes_and_maps_are_in_the_frame_s_pixels():
    grid = place(Windows(size=32), frame=(100, 200), area=(20, 40, 64, 96), side=64)
    assert grid.map_shape == (128, 192)
    found = np.zeros(grid.map_shape, np.float32)
    found[10:21, 100:120] = 1
    assert defect_boxes(found, 0.5, source=(100, 200), geometry=grid) == [(90, 25, 10, 6)]
    placed = frame_map(found, source=(100, 200), geometry=grid)
    assert placed.shape == (100, 200)
    assert placed[27, 95] == 1
    assert placed[:20].max() == placed[:, :40].max() == 0


def test_a_peak_stays_in_a_small_picture():
    grid = place(Windows(size=32), frame=(400, 600), area=(100, 300, 200, 300))
    found = np.zeros(grid.map_shape, np.float32)
    found[57, 211] = 3
    small = in_source(found, (40, 60), grid)
    assert small.max() == small[15, 51] == 3
    assert (small > 0).sum() == 1


@pytest.mark.parametrize(
    ("requested", "message"),
    [
        (Windows(size=71), "window_size: got 71, expected at most 70"),
        (Windows(size=32, overlap=32), "overlap: got 32, expected less than the window's 32"),
        (Windows(size=8), "window_size: got 8, expected 16 pixels or more"),
        (Windows(count=2, size=32), "windows: got 2 windows of size 32, expected one of the two"),
        (Windows(count=-1), "windows: got -1, expected 1 or more"),
        (Windows(count=9), "windows: got 9 along 70 pixels"),
        (Windows(count=3, overlap=80), "windows: got 3 along 70 pixels with an overlap of 80"),
        (Windows(size=32, overlap=-1), "overlap: got -1"),
    ],
)
def test_a_request_without_a_meaning_is_named(requested, message):
    with pytest.raises(ValueError, match=message):
        place(requested)


def test_spaced():
    assert spaced(1000, 256, 5) == (0, 186, 372, 558, 744)
    assert spaced(256, 256, 1) == (0,)
