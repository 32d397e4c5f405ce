"""The streaming feed: the same batches as the device feed, read ahead in workers, within bounds."""

import importlib.util
import threading
import time

import jax
import numpy as np
import pytest

from gnl_jax.data.feed import choose_feed, device_feed, make_schedule, process_rows, stream_feed

IMAGES = np.random.default_rng(0).integers(0, 256, (21, 32, 32, 3), np.uint8)
SCHEDULE = make_schedule(21, batch_size=4, seed=5, min_valid=1)  # six steps an epoch, the last one with one image


class Source:
    """An image source that notes who asks and for what, slowly; image `broken` cannot be read."""

    def __init__(self, *, delay=0.0, broken=None):
        self.threads, self.requests, self.delay, self.broken = set(), [], delay, broken

    def __len__(self):
        return len(IMAGES)

    def __getitem__(self, indices):
        self.threads.add(threading.get_ident())
        self.requests.append(indices)
        time.sleep(self.delay)
        if self.broken in indices:
            raise ValueError(f"'parts/{self.broken}.png': broken")
        return IMAGES[indices]


def assert_same(feed, other):
    batches, others = list(feed), list(other)
    assert len(batches) == len(others) > 0
    for batch, expected in zip(batches, others):
        for array, wanted in zip(batch, expected):
            assert type(array) is type(wanted)
            assert array.dtype == wanted.dtype
            np.testing.assert_array_equal(array, wanted)


@pytest.mark.parametrize("group", [1, 4])
@pytest.mark.parametrize("start", [0, 8])
@pytest.mark.parametrize("images", [IMAGES, Source()], ids=["array", "source"])
def test_streaming_gives_the_device_feeds_batches(images, start, group):
    span = {"start": start, "stop": 2 * SCHEDULE.steps_per_epoch + 3, "group": group}
    assert_same(stream_feed(images, SCHEDULE, **span), device_feed(IMAGES, SCHEDULE, **span))
    assert_same(device_feed(images, SCHEDULE, **span), device_feed(IMAGES, SCHEDULE, **span))


def test_a_batch_is_the_epochs_order_cut_in_pieces():
    indices, valid = zip(*(SCHEDULE.batch(step) for step in range(6, 12)))
    np.testing.assert_array_equal(np.concatenate(indices)[np.concatenate(valid)], SCHEDULE.order(1))
    np.testing.assert_array_equal(indices[-1], np.repeat(SCHEDULE.order(1)[-1], 4))
    assert valid[-1].tolist() == [True, False, False, False]


@pytest.mark.parametrize("feed", [device_feed, stream_feed])
def test_processes_share_a_batch_row_by_row(feed):
    span = {"start": 3, "stop": 9, "group": 2}
    whole = list(feed(IMAGES, SCHEDULE, **span))
    shares = [list(feed(IMAGES, SCHEDULE, process_index=i, process_count=2, **span)) for i in range(2)]
    for batch, *parts in zip(whole, *shares):
        for array, *pieces in zip(batch, *parts):
            assert [piece.shape[1] for piece in pieces] == [2, 2]
            np.testing.assert_array_equal(array, np.concatenate(pieces, axis=1))


def test_shares_that_do_not_exist():
    with pytest.raises(ValueError, match=r"train\.batch_size: got 4, expected a multiple of the 3 processes"):
        process_rows(4, process_index=0, process_count=3)
    with pytest.raises(ValueError, match="process_index: got 2, expected one of 2"):
        process_rows(4, process_index=2, process_count=2)


def test_several_workers_read_ahead_but_not_far():
    source = Source(delay=0.01)
    feed = stream_feed(source, SCHEDULE, start=0, stop=1000, workers=3)
    for _ in range(5):
        next(feed)
    time.sleep(0.3)
    assert threading.get_ident() not in source.threads
    assert len(source.threads) > 1
    assert 5 < len(source.requests) <= 5 + 2 * 3 + 3  # the buffer, and what the workers hold
    feed.close()


def test_a_workers_error_names_the_file():
    source = Source(broken=SCHEDULE.batch(4)[0][2])
    feed = stream_feed(source, SCHEDULE, start=0, stop=100)
    for step in range(4):
        np.testing.assert_array_equal(next(feed)[0][0], SCHEDULE.batch(step)[0])
    with pytest.raises(ValueError, match=rf"^'parts/{source.broken}\.png': broken"):
        next(feed)


@pytest.mark.parametrize(
    ("feed", "budget_mb", "chosen", "why"),
    [
        ("auto", 21 * 3 / 1024, device_feed, "0.1 MiB in all live on the device (train.device_budget_mb is 0.0615"),
        ("auto", 0.06, stream_feed, "0.1 MiB in all are streamed to the device (train.device_budget_mb is 0.06)"),
        ("device", 0.0, device_feed, "(train.feed is device)"),
        ("stream", 1e9, stream_feed, "(train.feed is stream)"),
    ],
)
def test_the_feed_is_chosen_by_size_and_said(feed, budget_mb, chosen, why, caplog):
    caplog.set_level("INFO", logger="absl")
    assert choose_feed(Source(), feed=feed, budget_mb=budget_mb) is chosen
    assert why in caplog.text


def test_a_feed_that_cannot_be(monkeypatch):
    with pytest.raises(ValueError, match=r"train\.feed: got 'disk', expected one of auto, device, stream"):
        choose_feed(IMAGES, feed="disk", budget_mb=1)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    assert choose_feed(IMAGES, feed="auto", budget_mb=1) is device_feed
    with pytest.raises(ValueError, match="needs the package grain"):
        choose_feed(IMAGES, feed="auto", budget_mb=0.01)


def test_batches_arrive_on_the_device():
    _, images, _ = next(stream_feed(IMAGES, SCHEDULE, start=0, stop=1))
    assert isinstance(images, jax.Array)
