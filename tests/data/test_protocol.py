"""The protocol: what is normal, what a test set must hold, subsets and leaks."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from gnl_jax.data.protocol import (
    LabelledImages,
    Task,
    check_shifts,
    check_test,
    leak_check,
    limited,
    normal_labels,
    one_vs_all,
)

CLASSES = ("cat", "dog", "horse")


def images(n, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (n, 32, 32, 3), np.uint8)


def test_every_class_but_the_normal_ones_is_anomalous():
    labels = np.array([0, 1, 2, 1])
    test = one_vs_all(images(4), labels, 1, names=["a", "b", "c", "d"])
    assert test.anomalous.tolist() == [True, False, True, False]
    assert test.names == ("a", "b", "c", "d")
    assert one_vs_all(images(4), labels, np.array([0, 2])).anomalous.tolist() == [False, True, False, True]


def test_a_class_or_a_group_of_classes_is_normal():
    groups = {"pets": ("cat", "dog")}
    assert normal_labels("horse", CLASSES, dataset="zoo").tolist() == [2]
    assert normal_labels("pets", CLASSES, dataset="zoo", groups=groups).tolist() == [0, 1]
    with pytest.raises(ValueError, match=r"'zoo' has no class 'fish', expected one of \['cat', .*'pets'\]"):
        normal_labels("fish", CLASSES, dataset="zoo", groups=groups)


def test_unknown_shifts_are_named_beside_the_valid_ones():
    check_shifts(("fog",), ("rain", "fog"), dataset="zoo")
    with pytest.raises(ValueError, match=r"'zoo' has no \['snow'\], expected some of \['rain', 'fog'\]"):
        check_shifts(("fog", "snow"), ("rain", "fog"), dataset="zoo")


def test_a_test_set_is_made_when_it_is_called_for_and_then_checked():
    made = []

    def load(name, labels):
        made.append(name)
        return one_vs_all(images(3), np.array(labels), 0)

    tests = {"id": lambda: load("id", [0, 1, 1]), "dark": lambda: load("dark", [1, 1, 1])}
    task = Task("zoo", "cat", images(2), tests)
    assert made == []
    assert task.load_test("id").anomalous.tolist() == [False, True, True]
    assert made == ["id"]
    with pytest.raises(ValueError, match=r"zoo/dark of normal class 'cat': one class missing.*0 normal, 3 anomalous"):
        task.load_test("dark")
    with pytest.raises(ValueError, match=r"no test set 'light', expected one of \['id', 'dark'\]"):
        task.load_test("light")


def test_a_task_needs_training_images_id_first_and_as_many_names_as_images():
    with pytest.raises(ValueError, match="dataset 'zoo' has no training images of normal class 'cat'"):
        Task("zoo", "cat", images(0), {})
    with pytest.raises(ValueError, match=r"tests: got \['dark', 'id'\], expected 'id' first"):
        Task("zoo", "cat", images(1), {"dark": list, "id": list})
    with pytest.raises(ValueError, match="train_names: got 1 for 2 training images"):
        Task("zoo", "cat", images(2), {}, ("a",))


def test_masks_that_are_not_known_are_left_out_of_pixel_metrics():
    masks, maps = np.zeros((3, 4, 4), bool), np.arange(48).reshape(3, 4, 4)
    test = LabelledImages(images(3), np.array([False, True, True]), masks, None, np.array([True, False, True]))
    assert [test.mask(i) is not None for i in range(3)] == [True, False, True]
    kept, truth = test.pixels(maps)
    np.testing.assert_array_equal(kept, maps[[0, 2]])
    assert truth.shape == (2, 4, 4)
    assert test.pixels(None)[0] is None
    assert test._replace(masked=None).pixels(maps) == (maps, masks)
    assert test._replace(masks=None).mask(0) is None


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"images": np.zeros((2, 32, 32, 3))}, r"images: got float64 \(2, 32, 32, 3\)"),
        ({"images": np.zeros((2, 32, 32), np.uint8)}, r"images: got uint8 \(2, 32, 32\)"),
        ({"anomalous": np.array([0, 1])}, r"anomalous: got int64 \(2,\)"),
        ({"anomalous": np.array([True])}, r"anomalous: got bool \(1,\)"),
        ({"masks": np.zeros((2, 8, 8), bool)}, r"masks: got bool \(2, 8, 8\), expected bool \(2, 32, 32\)"),
        ({"names": ("a",)}, r"names: got 1, expected 2"),
        ({"masked": np.array([1, 0])}, r"masked: got int64 \(2,\), expected bool \(2,\)"),
        ({"anomalous": np.array([False, False])}, "one class missing from the test: 2 normal, 0 anomalous"),
    ],
)
def test_a_malformed_test_set_is_named_with_its_field(changes, message):
    good = LabelledImages(images(2), np.array([False, True]), np.zeros((2, 32, 32), bool), ("a", "b"))
    check_test(good, name="zoo/id")
    with pytest.raises(ValueError, match=f"zoo/id: {message}"):
        check_test(good._replace(**changes), name="zoo/id")


@given(hnp.arrays(bool, st.integers(1, 60)), st.data())
def test_a_subset_keeps_order_size_and_proportion(anomalous, data):
    n, classes = len(anomalous), len(set(anomalous.tolist()))
    limit = data.draw(st.integers(classes, n))
    kept = limited(anomalous, limit, seed=1)
    assert len(kept) == limit
    assert (np.diff(kept) > 0).all()
    assert set(anomalous[kept].tolist()) == set(anomalous.tolist())
    share = limit * anomalous.sum() / n
    assert abs(anomalous[kept].sum() - share) <= 1  # rounding, or the one image that a class must keep
    np.testing.assert_array_equal(kept, limited(anomalous, limit, seed=1))


def test_a_subset_is_drawn_by_its_seed_and_no_limit_keeps_all():
    anomalous = np.arange(100) < 20
    assert limited(anomalous, 50, seed=0).tolist() != limited(anomalous, 50, seed=1).tolist()
    for limit in (0, 100, 1000):
        np.testing.assert_array_equal(limited(anomalous, limit, seed=0), np.arange(100))
    for limit in (-1, 1):
        with pytest.raises(ValueError, match=rf"limit: got {limit}, expected 0 \(all\) or at least 2"):
            limited(anomalous, limit, seed=0)


def test_leaks_are_found_by_content_in_arrays_and_in_sources():
    class Source:
        def __init__(self, array):
            self.array = array

        def __len__(self):
            return len(self.array)

        def __getitem__(self, indices):
            return self.array[indices]

    train, test = images(5), images(4, seed=1)
    assert leak_check(train, test) == []
    test[2], train[4] = train[1], train[1]
    almost = train[0].copy()
    almost[0, 0, 0] ^= 1
    test[3] = almost
    assert leak_check(train, test) == [(1, 2), (4, 2)]
    assert leak_check(Source(train), Source(test)) == [(1, 2), (4, 2)]
    assert leak_check(np.zeros((1, 4, 9, 3), np.uint8), np.zeros((1, 9, 4, 3), np.uint8)) == []
