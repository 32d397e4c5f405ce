"""Which images each step sees: every image once an epoch, in an order that is a function of seed and epoch."""

import jax
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gnl_jax.data.digits import digits_task
from gnl_jax.data.feed import device_feed, even_batch, make_schedule

sizes = st.integers(1, 40)
few = settings(max_examples=60, deadline=None)


@few
@given(n=sizes, batch_size=st.integers(1, 16), seed=st.integers(0, 9), epoch=st.integers(0, 3))
def test_every_image_once_an_epoch(n, batch_size, seed, epoch):
    schedule = make_schedule(n, batch_size=batch_size, seed=seed)
    steps = range(epoch * schedule.steps_per_epoch, (epoch + 1) * schedule.steps_per_epoch)
    indices, valid = (np.stack(part) for part in zip(*map(schedule.batch, steps), strict=True))
    assert indices.shape == valid.shape == (-(-n // batch_size), batch_size)
    order = np.random.default_rng([seed, epoch]).permutation(n)
    np.testing.assert_array_equal(indices[valid], order)
    # The last batch is filled up with its own first image, in rows that do not count.
    np.testing.assert_array_equal(indices[~valid], np.full(indices.size - n, indices[-1, 0]))
    assert valid[:-1].all()
    assert schedule.skipped == 0


@few
@given(n=st.integers(2, 40), batch_size=st.integers(2, 16), min_valid=st.integers(1, 2))
def test_only_a_remainder_below_the_minimum_is_left_out(n, batch_size, min_valid):
    schedule = make_schedule(n, batch_size=batch_size, seed=0, min_valid=min_valid)
    rest = n % batch_size
    assert schedule.skipped == (rest if rest < min_valid else 0)
    seen = sum(schedule.batch(step)[1].sum() for step in range(schedule.steps_per_epoch))
    assert seen == n - schedule.skipped


def test_another_image_is_left_out_each_epoch():
    schedule = make_schedule(9, batch_size=4, seed=0, min_valid=2)
    left_out = []
    for epoch in range(6):
        indices = [schedule.batch(2 * epoch + i)[0] for i in range(2)]
        left_out += sorted(set(range(9)) - set(np.concatenate(indices).tolist()))
    assert len(left_out) == 6
    assert len(set(left_out)) > 1


@few
@given(n=sizes, start=st.integers(0, 30))
def test_a_resumed_run_sees_what_it_would_have_seen(n, start):
    schedule = make_schedule(n, batch_size=4, seed=1)
    batches = schedule.batches(start)
    for step in range(start, start + 5):
        for resumed, expected in zip(next(batches), schedule.batch(step), strict=True):
            np.testing.assert_array_equal(resumed, expected)


@pytest.mark.parametrize(
    ("n", "batch_size", "min_valid", "message"),
    [
        (0, 4, 1, "training images: got none, expected at least one"),
        (4, 0, 1, "train.batch_size: got 0, expected at least 1"),
        (4, 1, 2, "train.batch_size: got 1, expected at least 2 at this size"),
        (1, 4, 2, "training images: got 1, expected at least 2 at this size"),
    ],
)
def test_nothing_to_train_on(n, batch_size, min_valid, message):
    with pytest.raises(ValueError, match=message):
        make_schedule(n, batch_size=batch_size, seed=0, min_valid=min_valid)


@pytest.mark.parametrize(("start", "stop", "group"), [(0, 6, 1), (0, 7, 3), (2, 9, 4), (5, 5, 2)])
def test_groups_of_steps(start, stop, group):
    """Groups of `group`, across the end of an epoch (three steps), and a shorter one at the end."""
    images = np.arange(11, dtype=np.uint8)[:, None, None, None]
    schedule = make_schedule(11, batch_size=4, seed=0)
    batches = list(device_feed(images, schedule, start=start, stop=stop, group=group))
    lengths = [len(indices) for indices, _, _ in batches]
    assert lengths == [group] * ((stop - start) // group) + [(stop - start) % group] * ((stop - start) % group > 0)
    step = start
    for indices, gathered, valid in batches:
        assert isinstance(gathered, jax.Array)
        assert gathered.dtype == np.uint8
        np.testing.assert_array_equal(gathered[..., 0, 0, 0], indices)
        for row, flags in zip(indices, valid):
            expected = schedule.batch(step)
            np.testing.assert_array_equal(row, expected[0])
            np.testing.assert_array_equal(flags, expected[1])
            step += 1
    assert step == stop


def test_digits_leave_the_remainders_they_do():
    """At batches of 16 the digits 1 and 5 leave one image, which has no batch statistics at 32x32."""
    skipped = {}
    for digit in "0123456789":
        schedule = make_schedule(len(digits_task(digit).train), batch_size=16, seed=0, min_valid=2)
        skipped[digit] = schedule.skipped
        for step in range(2 * schedule.steps_per_epoch):
            assert schedule.batch(step)[1].sum() >= 2
    assert {digit for digit, images in skipped.items() if images} == {"1", "5"}
    assert set(skipped.values()) == {0, 1}


@pytest.mark.parametrize(("n", "batch"), [(101, 15), (11, 11), (16, 16), (17, 9), (20, 10), (2000, 16), (1, 1)])
def test_batches_are_filled_evenly(n, batch):
    assert even_batch(n, at_most=16) == batch
    even, full = (make_schedule(n, batch_size=size, seed=0) for size in (batch, 16))
    assert even.steps_per_epoch == full.steps_per_epoch
    assert even.steps_per_epoch * batch - n < even.steps_per_epoch, "one row or none is left over in a step"


def test_a_batch_size_that_is_none_is_left_for_the_schedule_to_refuse():
    assert even_batch(10, at_most=0) == 0
