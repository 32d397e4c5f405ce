"""Images that are read when they are asked for are those that an array would hold."""

import numpy as np
import pytest

from gnl_jax.data import sources
from gnl_jax.data.sources import Arrays, Subset, changed, in_memory, one_by_one, subset


class Counting:
    """A source that knows how many images were held at once."""

    def __init__(self, images):
        self.images, self.shape, self.dtype, self.most = images, images.shape, images.dtype, 0

    def __len__(self):
        return len(self.images)

    def __getitem__(self, indices):
        self.most = max(self.most, len(indices))
        return self.images[indices]


def pictures(n):
    return np.random.default_rng(0).integers(0, 256, (n, 4, 4, 3), dtype=np.uint8)


def test_some_images_of_some_images():
    images, source = pictures(9), Counting(pictures(9))
    chosen = subset(subset(source, [8, 2, 5, 0]), [3, 1])
    assert isinstance(chosen, Subset)
    assert (len(chosen), chosen.shape, chosen.dtype) == (2, (2, 4, 4, 3), np.uint8)
    np.testing.assert_array_equal(chosen[np.array([1, 0, 1])], images[[2, 0, 2]])
    np.testing.assert_array_equal(subset(images, [8, 2]), images[[8, 2]])


def test_a_list_of_arrays_is_a_source():
    images = pictures(5)
    source = Arrays(list(images))
    assert (len(source), source.shape, source.dtype) == (5, images.shape, np.uint8)
    np.testing.assert_array_equal(subset(source, [4, 1])[np.array([1, 0])], images[[1, 4]])


def test_a_change_is_made_as_images_are_read():
    images, source = pictures(5), Counting(pictures(5))
    darker = changed(source, lambda some: some // 2)
    assert isinstance(darker, Subset)
    assert (darker.shape, darker.dtype, source.most) == ((5, 4, 4, 3), np.uint8, 0)
    np.testing.assert_array_equal(darker[np.array([4, 0])], images[[4, 0]] // 2)
    np.testing.assert_array_equal(changed(images, lambda some: some // 2), images // 2)


@pytest.mark.parametrize(("held", "most"), [(4 * 4 * 3 * 5, 5), (1, 1)])
def test_all_are_gone_through_and_few_are_held(monkeypatch, held, most):
    """As many as the bytes allow, and one at least, however large."""
    monkeypatch.setattr(sources, "CHUNK_BYTES", held)
    images = pictures(13)
    source = Counting(images)
    np.testing.assert_array_equal(list(one_by_one(source)), images)
    assert source.most == most
    assert list(one_by_one(Counting(pictures(0)))) == []


def test_all_images_of_a_source_are_one_array():
    images = pictures(5)
    np.testing.assert_array_equal(in_memory(Counting(images)), images)
    assert in_memory(images) is images
