"""A stream of files: one result each, in order, the bad ones ERROR, and nothing depends on neighbours."""

import dataclasses
from concurrent.futures import ThreadPoolExecutor

import jax.numpy as jnp
import numpy as np
import pytest
from bright import brightness, detector
from PIL import Image

from gnl_jax.detection.detector import Detector
from gnl_jax.detection.inspection import ERROR, inspect, reader
from gnl_jax.detection.preprocess import unusable
from gnl_jax.detection.record import folder_drift
from gnl_jax.overlap import AT_ONCE


@pytest.fixture
def files(tmp_path):
    """Grey images of 64 by 48 pixels with a bright spot: dark ones, one NG, one REVIEW, broken and missing ones."""
    paths = []
    for i, spot in enumerate([20, 255, 30, None, 125, 10, None, 40, 50]):
        path = tmp_path / f"{i}.png"
        if spot is not None:
            image = np.full((48, 64, 3), 10, np.uint8)
            image[12:24, 32:48] = spot
            Image.fromarray(image).save(path)
        elif i == 3:
            path.write_bytes(b"\x89PNG\r\n\x1a\nbroken")
        paths.append(path)
    return paths


def test_one_result_each_in_order(files):
    results = list(inspect(detector(), files))
    assert [r.path for r in results] == [str(path) for path in files]
    assert [r.decision for r in results] == ["OK", "NG", "OK", ERROR, "REVIEW", "OK", ERROR, "OK", "OK"]
    assert [r.reason for r in results if r.decision in ("NG", "REVIEW")] == ["score", "score"]
    assert "3.png" in results[3].reason
    assert "6.png" in results[6].reason
    assert results[3].score is None


def test_boxes_are_in_the_file_s_pixels(files):
    result = next(inspect(detector(), files[1:2]))
    assert result.boxes == ((32, 12, 16, 12),)
    assert next(inspect(detector(), files[:1])).boxes == ()


def test_a_method_without_maps_decides_and_has_no_boxes(files):
    def mapless(variables, images):
        return brightness(variables, images)._replace(map=None)

    results = inspect(dataclasses.replace(detector(), score_batch=mapless), files, keep=True, maps=True)
    for result, expected in zip(results, inspect(detector(), files), strict=True):
        assert (result.decision, result.score, result.p_value) == (expected.decision, expected.score, expected.p_value)
        assert (result.boxes, result.map, result.frame_map) == ((), None, None)


@pytest.mark.parametrize("batch_size", [1, 3, 16])
def test_decisions_depend_on_nothing_but_the_image(files, batch_size):
    expected = {r.path: r for r in inspect(detector(batch_size), files)}
    other = {r.path: r for r in inspect(detector(), files)}
    for order in (files[::-1], [files[4]], files + files):
        for result in inspect(detector(batch_size), order, workers=1):
            assert result == expected[result.path]
            assert result[1:3] == other[result.path][1:3]  # another batch size is another program: rounding may differ


def test_every_form_of_an_image_has_the_same_result(files):
    d, path = detector(batch_size=1), files[1]
    array = np.asarray(Image.open(path))
    expected = d.inspect(str(path))
    assert expected.size == (48, 64)
    opaque = np.dstack([array, np.full((48, 64), 255, np.uint8)])
    forms = [path, path.read_bytes(), Image.open(path), array, array[..., 0], opaque]
    for form in forms:
        assert d.inspect(form)[1:] == expected[1:]
    others = [
        d.inspect(array[..., ::-1], channels="bgr"),
        d.inspect(array / 255, white=1.0),
        d.inspect(array.astype(np.uint16) * 257),
        *d.inspect(array[None]),
        *d.inspect(form for form in [array]),
    ]
    for result in others:
        assert result[1:] == expected[1:]
    assert d.inspect(str(path)).path == str(path)
    assert d.inspect(array).path == "image 0"


def test_an_iterable_is_consumed_once_in_order(files):
    expected = list(detector().inspect(files))
    assert list(detector().inspect(iter(files))) == expected
    assert list(detector().inspect(str(path) for path in files)) == expected
    mixed = [str(files[0]), np.asarray(Image.open(files[1])), None, files[2].read_bytes()]
    results = list(detector().inspect(iter(mixed)))
    assert [r.path for r in results] == [str(files[0]), "image 1", "image 2", "image 3"]
    assert [r.decision for r in results] == ["OK", "NG", ERROR, "OK"]
    assert "image 2: got NoneType" in results[2].reason


def test_a_path_is_one_item_and_not_its_letters(files):
    assert detector().inspect(str(files[1])).decision == "NG"
    assert detector().inspect(str(files[6])).decision == ERROR


def test_a_camera_may_write_into_one_buffer():
    def camera():
        buffer = np.zeros((32, 32, 3), np.uint8)
        for value in (10, 255, 20, 125) * 5:
            buffer[:] = value
            yield buffer

    assert [r.decision for r in detector().inspect(camera())] == ["OK", "NG", "OK", "REVIEW"] * 5


def test_a_live_source_has_each_result_before_the_next_image_is_taken(files):
    given = []

    def live():
        for path in files:
            given.append(path)
            yield path

    for n, result in enumerate(detector().inspect(live(), ahead=0), start=1):
        assert len(given) == n
        assert result.path == str(files[n - 1])
    list(detector().inspect(files, ahead=3))
    with pytest.raises(ValueError, match="ahead: got -1"):
        detector().inspect(files, ahead=-1)


def test_never_more_than_a_window_is_taken(files):
    taken = []

    def endless():
        while True:
            taken.append(1)
            yield files[0]

    stream = detector().inspect(endless(), workers=2)
    for _ in range(30):
        next(stream)
    assert len(taken) <= 30 + 2 * (4 + 4 * 2) + 4 * AT_ONCE
    stream.close()


def test_what_a_source_gave_before_it_failed_has_its_result(files):
    def failing():
        yield from files[:3]
        raise RuntimeError("the camera is gone")

    stream = detector().inspect(failing())
    assert [next(stream).decision for _ in range(3)] == ["OK", "NG", "OK"]
    with pytest.raises(RuntimeError, match="the camera is gone"):
        next(stream)


def test_threads_have_the_same_results(files):
    d = detector()
    expected = list(d.inspect(files))
    with ThreadPoolExecutor(6) as pool:
        assert all(results == expected for results in pool.map(lambda _: list(d.inspect(files)), range(12)))
        assert list(pool.map(d.inspect, files)) == expected


def test_a_map_in_the_frame_s_pixels(files):
    result = detector().inspect(files[1], maps=True)
    assert result.frame_map.shape == (48, 64)
    assert result.frame_map.dtype == np.float32
    assert (result.frame_map[15:21, 36:44] > 0.9).all()
    assert (result.frame_map[:10] < 0.1).all()
    assert detector().inspect(files[1]).frame_map is None


def test_unusable_files_are_found_without_scoring(files):
    found = unusable(reader(detector()), files)
    assert [name for name, _ in found] == [str(files[3]), str(files[6])]


def test_a_region_is_tied_to_the_size_it_was_drawn_on(files):
    d = detector()

    def with_region(**region):
        manifest = {**d.record.manifest, "data": {"region": region}}
        return dataclasses.replace(d, record=dataclasses.replace(d.record, manifest=manifest))

    tied = with_region(roi="(0, 0, 9, 9)", size=[32, 64], relative=False)
    result = tied.inspect(files[0])
    assert result.decision == ERROR
    assert "got 64x48 pixels, expected 64x32" in result.reason
    assert tied.inspect(np.zeros((32, 64, 3), np.uint8)).decision == "OK"
    assert with_region(roi="(0, 0, 9, 9)", size=[32, 64], relative=True).inspect(files[0]).decision == "OK"
    assert with_region(roi="(0, 0, 9, 9)").inspect(files[0]).decision == "OK"  # of a file that does not say


def test_images_and_maps_are_kept_on_request(files):
    kept = list(inspect(detector(), files[:2], keep=True))
    assert kept[0].image.shape == (32, 32, 3)
    assert kept[0].map.shape == (32, 32)
    assert next(inspect(detector(), files)).map is None


def test_a_score_that_is_no_number_is_an_error_of_its_image_alone(files):
    def broken(variables, images):
        prediction = brightness(variables, images)
        return prediction._replace(score=jnp.where(images.max((1, 2, 3)) == 30, jnp.nan, prediction.score))

    sound = detector()
    results = list(inspect(Detector(sound.variables, broken, 32, 4, sound.record), files))
    assert [r.decision for r in results] == ["OK", "NG", ERROR, ERROR, "REVIEW", "OK", ERROR, "OK", "OK"]
    assert "expected a finite number" in results[2].reason


def test_drift_turns_ok_into_review_and_nothing_else(files):
    sound = detector()
    shifted = Detector({"gain": jnp.float32(20)}, brightness, 32, 4, sound.record)
    results = [r for r in inspect(shifted, files) if r.decision != ERROR]
    assert [(r.decision, r.reason) for r in results] == [
        ("REVIEW", "drift"),
        ("NG", "score"),
        ("REVIEW", "drift"),
        ("REVIEW", "score"),
        ("REVIEW", "drift"),
        ("REVIEW", "drift"),
        ("REVIEW", "drift"),
    ]
    without = Detector({"gain": jnp.float32(20)}, brightness, 32, 4, detector(drift=None).record)
    assert {r.reason for r in inspect(without, files[:1])} == {""}


def test_a_folder_has_drifted_when_too_many_images_have():
    record = detector().record
    assert not folder_drift(record, [0.1] * 50).alarm
    found = folder_drift(record, [0.1] * 30 + [0.3] * 20)
    assert (found.small, found.n, found.expected, found.alarm) == (20, 50, 2.5, True)
    assert folder_drift(record, []) is None
