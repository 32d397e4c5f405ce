"""Evaluation where there are masks, of several test sets one after the other, and of test sets that were trained on."""

import dataclasses
import json

import jax
import numpy as np
import pytest

from gnl_jax.config import default_config
from gnl_jax.config_io import save_config
from gnl_jax.data.protocol import LabelledImages, Task
from gnl_jax.detection.detector import Detector, predict
from gnl_jax.evaluation import evaluate as evaluation
from gnl_jax.evaluation.metrics import aupro, pixel_auroc
from gnl_jax.methods.base import Prediction

SIZE, N = 32, 9


@jax.jit
def brightness(variables, images):
    """A detector of bright pixels."""
    maps = images.astype("float32").sum(-1) * variables  # exact
    return Prediction(maps.max((1, 2)), maps)


def bright_defects(seed, *, masks=True, extra=0):
    """Noise, and in the later half of the images brighter patches that the masks show."""
    rng = np.random.default_rng(seed)
    anomalous = np.arange(N + extra) >= 4
    images = rng.integers(0, 200, (len(anomalous), SIZE, SIZE, 3), np.uint8)
    truth = np.zeros(images.shape[:3], np.bool_)
    for i in np.flatnonzero(anomalous):
        row, column = rng.integers(0, 20, 2)
        truth[i, row : row + 8, column : column + 6] = True
    images[truth] = rng.integers(60, 255, images[truth].shape)
    return LabelledImages(images, anomalous, truth if masks else None)


def expected_maps(test):
    return test.images.astype(np.float32).sum(-1) * np.float32(0.5)


@pytest.fixture
def run_folder(tmp_path, monkeypatch):
    """A run folder and its task; the detector is that of bright pixels, whatever the matching."""
    tests = {"id": bright_defects(0), "shifted": bright_defects(1, extra=2), "plain": bright_defects(2, masks=False)}
    loads = []

    def loader(name):
        return lambda: loads.append(name) or tests[name]

    task = Task("parts", "good", bright_defects(5).images[:4], {name: loader(name) for name in tests})
    detector = Detector(np.float32(0.5), brightness, SIZE, batch_size=4)
    monkeypatch.setattr(evaluation, "load_task", lambda dataset, seed: task)
    monkeypatch.setattr(evaluation, "restore_detector", lambda *_, **__: (detector, 7))
    config = default_config()
    config.eval.matching = ("none", "efdm")
    save_config(tmp_path, config)
    (tmp_path / "metrics.jsonl").write_text(json.dumps({"step": 1, "seconds": 2.5}) + "\n")
    return tmp_path, tests, loads


def test_rows_hold_the_metrics_of_the_test_sets_with_masks(run_folder):
    folder, tests, loads = run_folder
    evaluations = evaluation.evaluate(folder)
    assert loads == list(tests)  # once, however many matchings
    assert [e.row["matching"]["kind"] for e in evaluations] == ["none", "efdm"]
    for row in (e.row for e in evaluations):
        assert (row["dataset"], row["normal"], row["steps"]) == ("parts", "good", 7)
        assert row["n_test"] == {name: len(test.images) for name, test in tests.items()}
        assert row["pixel"].keys() == {"auroc", "aupro_0.30", "aupro_0.05"}
        for metric, function in (
            ("auroc", pixel_auroc),
            ("aupro_0.30", lambda maps, masks: aupro(maps, masks, 0.3)),
            ("aupro_0.05", lambda maps, masks: aupro(maps, masks, 0.05)),
        ):
            expected = {n: function(expected_maps(tests[n]), tests[n].masks) for n in ("id", "shifted")}
            assert row["pixel"][metric] == expected
        assert 0.8 < row["pixel"]["auroc"]["id"] < 1


def test_the_gallery_has_the_maps_and_masks_of_four_images_of_each_test_set(run_folder):
    folder, tests, _ = run_folder
    gallery = evaluation.evaluate(folder)[0].gallery
    assert [item.test for item in gallery] == [name for name in tests for _ in range(4)]
    for item in gallery:
        test = tests[item.test]
        (i,) = np.flatnonzero((test.images == item.image).all((1, 2, 3)))
        np.testing.assert_array_equal(item.map, expected_maps(test)[i])
        assert item.score == item.map.max()
        assert item.anomalous == test.anomalous[i]
        if test.masks is None:
            assert item.mask is None
        else:
            np.testing.assert_array_equal(item.mask, test.masks[i])


def test_defects_whose_mask_is_not_known_count_for_images_and_not_for_pixels(run_folder):
    folder, tests, _ = run_folder
    test, known = tests["id"], np.arange(N) < 6
    masks = np.where(known[:, None, None], test.masks, False)
    tests["id"] = test._replace(masks=masks, masked=known)
    evaluation_of = evaluation.evaluate(folder)[0]
    assert evaluation_of.row["n_test"]["id"] == N
    assert evaluation_of.row["pixel"]["auroc"]["id"] == pixel_auroc(expected_maps(test)[known], masks[known])
    shown = [item for item in evaluation_of.gallery if item.test == "id"]
    where = [np.flatnonzero((test.images == item.image).all((1, 2, 3)))[0] for item in shown]
    assert [item.mask is not None for item in shown] == known[where].tolist()
    assert not all(known[where])


def test_maps_are_not_kept_where_nobody_asks():
    test = bright_defects(0)
    detector = Detector(np.float32(0.5), brightness, SIZE, batch_size=4)
    kept, dropped = predict(detector, test.images), predict(detector, test.images, maps=False)
    np.testing.assert_array_equal(kept.score, dropped.score)
    np.testing.assert_array_equal(kept.map, expected_maps(test))
    assert dropped.map is None
    assert predict(detector, test.images[:0], maps=False).map is None
    assert predict(detector, test.images[:0]).map.shape == (0, SIZE, SIZE)


def test_masks_without_a_defect_give_no_metrics_and_a_warning(caplog):
    maps, masks = np.zeros((2, SIZE, SIZE)), np.zeros((2, SIZE, SIZE), np.bool_)
    assert evaluation.pixel_metrics(maps, masks, name="night") == {}
    assert "night: no mask has a defect" in caplog.text
    assert evaluation.pixel_metrics(maps, None, name="night") == {}
    assert evaluation.pixel_metrics(None, masks, name="night") == {}


def test_images_that_were_trained_on_are_counted_and_named(run_folder, monkeypatch, caplog):
    folder, tests, _ = run_folder
    evaluation.evaluate(folder)
    assert "also among" not in caplog.text
    task = evaluation.load_task(None, seed=0)
    train = np.concatenate([tests["id"].images[[2]], np.rot90(tests["id"].images[:2], axes=(1, 2))])
    names = ("good/a.png", "good/b.png", "good/c.png")
    leaky = dataclasses.replace(task, train=train, train_names=names)
    monkeypatch.setattr(evaluation, "load_task", lambda dataset, seed: leaky)
    evaluation.evaluate(folder)
    said = "parts: 1 of 9 test images are also among the 3 training images, such as"
    assert caplog.text.count(said) == 1
    assert f"{said} image 2 (training: good/a.png)" in caplog.text
    evaluation.warn_of_leaks(leaky, tests["id"]._replace(names=tuple(f"test/{i}.png" for i in range(N))))
    assert f"{said} test/2.png (training: good/a.png)" in caplog.text
