"""A memory bank as a detector: planted defects found among the good images, saved and read, trained and evaluated."""

import fitted
import numpy as np
import pytest
import small_banks

import gnl_jax
from gnl_jax.config import default_config, set_method
from gnl_jax.data.digits import digits_task
from gnl_jax.detection.detector import predict
from gnl_jax.detection.fit import fit
from gnl_jax.detection.options import inspection_config
from gnl_jax.detection.parts import good_images
from gnl_jax.detection.ranking import predict_as_new
from gnl_jax.evaluation.evaluate import evaluate
from gnl_jax.methods.bank_options import BankOptions
from gnl_jax.training.loop import train


def test_a_defect_among_the_good_images_is_found_by_leaving_each_part_out():
    """The bank holds the defect's own patches, so that plain scores are blind to it."""
    images = small_banks.pictures(40)
    method = small_banks.make(BankOptions(rows=small_banks.EVERYTHING), small_banks.MATCHED)
    config = fitted.config()
    clean = fit(images, config, method=method, say=lambda words: None)
    learned = clean.require_record().manifest["data"]["fit"]
    good = good_images(images, config.dataset)
    planted = good.hashes.index(learned[len(learned) // 2])  # what is divided off depends on the parts, not the pixels
    images[planted] = small_banks.defective(images[planted])
    detector = fit(images, config, method=method, say=lambda words: None)
    good = good_images(images, config.dataset)
    assert good.hashes[planted] in detector.require_record().manifest["data"]["fit"]
    counted = []
    new, plain = predict_as_new(detector, good, advance=counted.append), predict(detector, images)
    assert sum(counted) == 40
    assert new.score.argmax() == planted
    assert plain.score.argmax() != planted
    calibrates = [digest not in detector.require_record().manifest["data"]["fit"] for digest in good.hashes]
    np.testing.assert_allclose(new.score[calibrates], plain.score[calibrates], rtol=1e-5)


def test_of_one_part_none_can_be_left_out():
    images = small_banks.pictures(40)
    method = small_banks.make(BankOptions(rows=50))
    detector = fit(images, fitted.config(), method=method, say=lambda words: None)
    detector.variables["parts"] = np.zeros_like(detector.variables["parts"])
    with pytest.raises(ValueError, match="learned from one part alone, expected two or more"):
        predict_as_new(detector, good_images(images, fitted.config().dataset))


@pytest.mark.slow
def test_from_images_to_a_file_with_the_weights_in_the_package(tmp_path, monkeypatch):
    """ "0" is good: ResNet-18, 64 pixels, matched; nothing is downloaded and nothing trained."""
    monkeypatch.delenv("GNL_JAX_TEACHER", raising=False)
    task = digits_task("0", size=64, seed=0, shifts=(), severity=3)
    test = task.load_test("id")
    config = set_method(inspection_config(), "matched_bank")
    config.dataset.size, config.dataset.cache, config.eval.batch_size = 64, "", 8
    config.method.memory_bank.rows = 500.0
    said = []
    detector = gnl_jax.fit(task.train[:40], config, say=said.append)
    record = detector.require_record()
    assert record.manifest["config"]["teacher"]["weights"] == "bundled"
    assert record.manifest["made"]["steps"] == 0
    assert not any("epoch" in words for words in said)
    assert set(record.matchings) == {"efdm", "none"}
    chosen = np.concatenate([np.flatnonzero(~test.anomalous)[:16], np.flatnonzero(test.anomalous)[:16]])
    found = gnl_jax.predict(detector, test.images[chosen])
    assert found.score[16:].min() > np.median(found.score[:16])
    assert (found.score[16:, None] > found.score[None, :16]).mean() > 0.95
    gnl_jax.save(detector, tmp_path / "zero.gnl")
    again = gnl_jax.predict(gnl_jax.load(tmp_path / "zero.gnl"), test.images[chosen])
    for a, b in zip(found, again):
        np.testing.assert_array_equal(a, b)
    assert found.drift.shape == (32,)


@pytest.mark.slow
def test_a_run_without_training_is_evaluated(tmp_path):
    """As `experiments/train.py` and `evaluate.py` do it: no step, a row for each matching."""
    config = set_method(default_config(), "matched_bank")
    config.update_from_flattened_dict({
        "teacher.weights": "random",
        "method.normalise": "none",
        "dataset.limit_train": 16,
        "dataset.limit_test": 24,
        "dataset.shifts": ("contrast",),
        "method.memory_bank.rows": 30.0,
        "eval.anchor": "barycentre",
    })  # fmt: skip
    trained = train(config, tmp_path)
    assert (trained.steps, trained.state) == (0, None)
    assert (tmp_path / "metrics.jsonl").read_text() == ""
    assert train(config, tmp_path).steps == 0  # the same command again
    found = evaluate(tmp_path)
    assert [(e.row["method"], e.row["matching"]["kind"]) for e in found] == [
        *(("matched_bank", "none"), ("matched_bank", "efdm")),
    ]
    for evaluation in found:
        assert evaluation.row["steps"] == evaluation.row["seconds"]["train"] == 0
        assert 0 <= evaluation.row["auroc"]["id"] <= 1
        assert evaluation.row["auroc"]["ood"].keys() == {"contrast"}
    assert found[0].row["auroc"] != found[1].row["auroc"] or not np.array_equal(
        found[0].tests["id"].score, found[1].tests["id"].score
    )
