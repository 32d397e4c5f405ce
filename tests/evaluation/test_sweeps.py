"""One run folder under other alphas and other test sets: one compiled program, and nothing else may differ."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from sklearn.metrics import average_precision_score, f1_score, roc_auc_score

from gnl_jax.config import default_config
from gnl_jax.config_io import load_config, save_config
from gnl_jax.data.protocol import LabelledImages, Task
from gnl_jax.detection.detector import Detector, predict
from gnl_jax.evaluation import evaluate as evaluation
from gnl_jax.evaluation.bootstrap import auroc_interval
from gnl_jax.evaluation.restore import TEST_FIELDS, check_evaluation
from gnl_jax.evaluation.rows import image_metrics
from gnl_jax.evaluation.scores import Scored
from gnl_jax.methods.base import Prediction

SIZE, N = 32, 40


@jax.jit
def colour(variables, images):
    """A detector of red that turns into one of blue as alpha grows; alone it is one of green."""
    means = images.astype("float32").mean((1, 2))
    if "alpha" not in variables:
        return Prediction(means[:, 1])
    return Prediction((1 - variables["alpha"]) * means[:, 0] + variables["alpha"] * means[:, 2])


def coloured(seed):
    rng = np.random.default_rng(seed)
    anomalous = np.arange(N) % 4 == 0
    images = rng.integers(0, 150, (N, SIZE, SIZE, 3), np.uint8)
    images += (rng.integers(0, 60, (N, 1, 1, 3)) + 8 * anomalous[:, None, None, None]).astype(np.uint8)
    return LabelledImages(images, anomalous)


@pytest.fixture
def run_folder(tmp_path, monkeypatch):
    tests = {name: coloured(seed) for seed, name in enumerate(("id", "night"))}
    task = Task("parts", "good", coloured(5).images[:4], {name: lambda n=name: tests[n] for name in tests})
    restored = []

    def restore(workdir, *, matching, config, task):
        restored.append(matching)
        variables = {} if matching == "none" else {"alpha": jnp.float32(config.eval.alpha)}
        return Detector(variables, colour, SIZE, batch_size=16), 7

    monkeypatch.setattr(evaluation, "load_task", lambda dataset, seed: task)
    monkeypatch.setattr(evaluation, "restore_detector", restore)
    config = default_config()
    config.eval.matching = ("none", "efdm")
    save_config(tmp_path, config)
    (tmp_path / "metrics.jsonl").write_text(json.dumps({"step": 1, "seconds": 2.5}) + "\n")
    return tmp_path, tests, restored


def test_alphas_give_a_row_each_from_one_program(run_folder):
    folder, tests, restored = run_folder
    alphas = (0, 0.25, 0.5, 1)
    evaluation.evaluate(folder)
    compiled, restored[:] = colour._cache_size(), []
    evaluations = evaluation.evaluate(folder, alphas=alphas)
    assert colour._cache_size() == compiled  # what "none" and one alpha needed
    assert restored == ["none", "efdm"]
    assert [e.row["matching"]["alpha"] for e in evaluations] == [None, 0, 0.25, 0.5, 1]
    for alpha, made in zip(alphas, evaluations[1:], strict=True):
        for name, test in tests.items():
            detector = Detector({"alpha": jnp.float32(alpha)}, colour, SIZE, batch_size=16)
            expected = predict(detector, test.images).score
            np.testing.assert_array_equal(made.tests[name].score, expected)
            area = {"id": made.row["auroc"]["id"], **made.row["auroc"]["ood"]}[name]
            assert area == pytest.approx(roc_auc_score(test.anomalous, expected))
    assert len({e.tests["id"].score.tobytes() for e in evaluations}) == 5
    assert [e.row["matching"]["alpha"] for e in evaluation.evaluate(folder)] == [None, 0.5]


@pytest.mark.parametrize("alphas", [(), (0.5, 1.1), (-0.1,)])
def test_alphas_are_checked(run_folder, alphas):
    with pytest.raises(ValueError, match=r"alphas: got \[.*\], expected one or more numbers in \[0, 1\]"):
        evaluation.evaluate(run_folder[0], alphas=alphas)


def test_a_row_has_further_metrics_and_an_interval_of_each_test_set(run_folder):
    for made in evaluation.evaluate(run_folder[0]):
        assert made.row["metrics"] == image_metrics(made.tests)
        assert made.row["interval"] == {name: list(auroc_interval(*scored)) for name, scored in made.tests.items()}
        areas = {"id": made.row["auroc"]["id"], **made.row["auroc"]["ood"]}
        assert all(low < areas[name] < high for name, (low, high) in made.row["interval"].items())


def test_false_alarms_are_counted_at_the_threshold_of_the_clean_test_set():
    normals = np.arange(100, dtype=np.float32)
    labels = np.arange(110) >= 100
    clean = Scored(np.concatenate([normals, np.full(10, 97, np.float32)]), labels)
    shifted = clean._replace(score=clean.score + np.float32(10))
    metrics = image_metrics({"id": clean, "night": shifted})
    assert metrics["false_alarm_0.05"] == {"id": 0.05, "night": 0.15}  # above 94
    assert metrics["average_precision"]["id"] == pytest.approx(average_precision_score(labels, clean.score))
    best = max(f1_score(labels, clean.score >= threshold) for threshold in clean.score)
    assert metrics["f1_max"] == {"id": pytest.approx(best), "night": pytest.approx(best)}


def test_other_test_sets_and_evaluations_are_allowed_and_nothing_else(run_folder):
    folder, _, _ = run_folder
    saved, config = load_config(folder), load_config(folder)
    values = {"shifts": ("contrast:5",), "shifted": ("night=a",), "severity": 5, "limit_test": 3, "memory_mb": 1.0}
    config.dataset.update({field: values.get(field, "elsewhere") for field in TEST_FIELDS})
    config.eval.update(alpha=0.9, matching=("none",), anchor="barycentre")
    check_evaluation(saved, config)
    assert [e.row["matching"]["kind"] for e in evaluation.evaluate(folder, config=config)] == ["none"]
    assert load_config(folder) == saved  # the run's own configuration stays
    config.dataset.normal, config.train.epochs = "1", 99
    with pytest.raises(
        ValueError, match=r"dataset\.normal: saved '0', requested '1'; train\.epochs: saved 20, requested 99"
    ):
        evaluation.evaluate(folder, config=config)


def test_every_test_field_is_a_field():
    dataset = default_config().dataset
    assert set(TEST_FIELDS) <= set(dataset)
    assert not {"normal", "size", "limit_train", "resize"} & set(TEST_FIELDS)


def test_a_system_without_a_teacher_has_none_in_its_row(run_folder):
    folder, _, _ = run_folder
    config = load_config(folder)
    config.method.system, config.eval.matching = "deep_svdd", ("none",)
    save_config(folder, config)
    (made,) = evaluation.evaluate(folder)
    assert made.row["teacher"] == "none"
    assert made.gallery == []  # it makes no maps
