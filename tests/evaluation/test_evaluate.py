"""Evaluation needs nothing but the run folder; what it cannot use it refuses by name."""

import jax
import numpy as np
import pytest
from run_folders import STEP, make_run, small_architecture, small_config
from sklearn.metrics import roc_auc_score

from gnl_jax.config_io import load_config, save_config
from gnl_jax.data.digits import digits_task
from gnl_jax.detection.detector import predict
from gnl_jax.evaluation.evaluate import evaluate, gallery_choice, restore_detector


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("run")
    with small_architecture():
        make_run(folder, small_config())
        yield folder


@pytest.fixture(scope="module")
def images():
    return digits_task("0").load_test("id").images[:9]


@pytest.fixture(scope="module")
def detector(run):
    detector, steps = restore_detector(run, matching="efdm")
    assert steps == STEP
    return detector


def test_scores_do_not_depend_on_how_many_there_are(detector, images):
    """Bit by bit, with the teacher's own file gone; the batch size is 4."""
    whole = predict(detector, images)
    assert len(np.unique(whole.score)) == 9
    for n in (0, 1, 4, 5, 8):
        part = predict(detector, images[:n])
        assert part.score.tobytes() == whole.score[:n].tobytes()
        assert part.map.tobytes() == whole.map[:n].tobytes()


def test_restored_arrays_are_those_saved(run, detector):
    again, _ = restore_detector(run, matching="efdm")
    for one, other in zip(jax.tree.leaves(detector.variables), jax.tree.leaves(again.variables), strict=True):
        assert np.asarray(one).tobytes() == np.asarray(other).tobytes()


@pytest.mark.slow
def test_a_row_for_each_matching(run):
    config = load_config(run)
    config.eval.matching, config.eval.anchor, config.eval.anchors = ("none", "efdm"), "random", 2
    plain, matched = evaluate(run, config=config)
    assert plain.row["matching"] == {"kind": "none", "alpha": None, "anchor": None, "k": None}
    assert matched.row["matching"] == {"kind": "efdm", "alpha": 0.5, "anchor": "random", "k": 2}
    for evaluation in (plain, matched):
        row, tests = evaluation.row, evaluation.tests
        assert (row["method"], row["dataset"], row["normal"], row["steps"]) == ("gnl", "digits", "0", STEP)
        assert row["teacher"] == "resnet10, teacher.safetensors"
        assert row["seconds"]["train"] == 0.25 * STEP
        assert row["n_test"] == {"id": 20, "contrast": 20}
        areas = {"id": row["auroc"]["id"], **row["auroc"]["ood"]}
        assert areas == {name: pytest.approx(roc_auc_score(t.anomalous, t.score)) for name, t in tests.items()}
    assert plain.tests["id"].score.tolist() != matched.tests["id"].score.tolist()


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ({"eval.matching": ("adain",)}, "eval.matching: got"),
        ({"eval.alpha": 2.0}, "eval.alpha: got 2.0, expected 0 to 1"),
        ({"eval.anchor": "random", "eval.anchors": 7}, "eval.anchors: got 7, expected 1 to 6"),
        ({"eval.batch_size": 0}, "eval.batch_size: got 0, expected 1 or more"),
    ],
)
def test_other_settings_are_checked(run, override, message):
    config = load_config(run)
    config.update_from_flattened_dict(override | ({"eval.matching": ("efdm",)} if "eval.anchor" in override else {}))
    with pytest.raises(ValueError, match=f"^{message}"):
        evaluate(run, config=config)


def test_folders_that_are_no_runs(run, tmp_path):
    with pytest.raises(ValueError, match=f"^{tmp_path}/config.json: .*expected the config of an earlier run"):
        evaluate(tmp_path)
    save_config(tmp_path, load_config(run))
    with pytest.raises(ValueError, match=f"^{tmp_path}/frozen.safetensors: .*expected the arrays of an earlier run"):
        evaluate(tmp_path)
    (tmp_path / "frozen.safetensors").write_bytes((run / "frozen.safetensors").read_bytes())
    with pytest.raises(ValueError, match=f"^workdir {tmp_path}: no checkpoint of phase 'distillation', expected a"):
        evaluate(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["config.json", "frozen.safetensors"]


def test_one_class_missing_from_the_test(run, monkeypatch):
    import gnl_jax.evaluation.evaluate as module

    task = digits_task("0", limit_train=6, shifts=())
    test = task.load_test("id")
    only_normal = test._replace(
        images=test.images[~test.anomalous], anomalous=test.anomalous[~test.anomalous], names=None
    )
    task.tests["id"] = lambda: only_normal
    monkeypatch.setattr(module, "load_task", lambda *_, **__: task)
    with pytest.raises(
        ValueError, match=r"digits/id of normal class '0': one class missing from the test: 36 normal, 0"
    ):
        evaluate(run)


def test_gallery_holds_the_median_and_the_worst_of_each_class():
    score = np.array([5.0, 1, 2, 3, 30, 10, 20, 40, 50])
    anomalous = np.arange(9) > 3
    assert gallery_choice(score, anomalous).tolist() == [3, 0, 4, 5]
    assert gallery_choice(score[[1, 5]], anomalous[[1, 5]]).tolist() == [0, 0, 1, 1]
