"""Results found again: below folders, each once, contradictions refused, scores with the rows they belong to."""

from types import SimpleNamespace

import numpy as np
import pytest
from result_rows import row

from gnl_jax.evaluation.collect import collect, collect_scores, write_evaluations
from gnl_jax.evaluation.metrics import auroc
from gnl_jax.evaluation.results import write_results
from gnl_jax.evaluation.scores import Scored, write_scores


def evaluation(seed=0, **changes):
    rng = np.random.default_rng(seed)
    labels = np.arange(12) % 3 == 0
    tests = {name: Scored((rng.normal(size=12) + labels).astype(np.float32), labels) for name in ("id", "photo")}
    areas = {name: auroc(*scored) for name, scored in tests.items()}
    made = row(auroc_id=areas["id"], auroc_ood={"photo": areas["photo"]}, seed=seed, **changes)
    return SimpleNamespace(row=made, tests=tests)


def test_rows_are_found_below_folders_sorted_and_each_once(tmp_path):
    evaluations = [evaluation(0), evaluation(0, method="rd4ad"), evaluation(1)]
    write_evaluations(tmp_path / "b" / "gnl" / "1", evaluations[2:])
    write_evaluations(tmp_path / "a" / "0", evaluations[:2])
    write_evaluations(tmp_path / "z", evaluations)  # of the experiment, repeats both
    rows = [e.row for e in evaluations]
    assert collect(tmp_path) == rows
    assert collect(tmp_path / "b", tmp_path / "a" / "0" / "results.json", tmp_path / "b" / "gnl") == rows
    assert collect(tmp_path / "b") == rows[2:]
    for (found, tests), expected in zip(collect_scores(tmp_path), evaluations, strict=True):
        assert found == expected.row
        assert tests.keys() == expected.tests.keys()
        np.testing.assert_array_equal(tests["photo"].score, expected.tests["photo"].score)


def test_evaluated_again_only_the_time_may_differ(tmp_path):
    first = evaluation()
    write_results(tmp_path / "results.json", [first.row])
    (tmp_path / "sub").mkdir()
    write_results(tmp_path / "sub" / "results.json", [{**first.row, "seconds": {"score": 99.0}}])
    assert collect(tmp_path) == [first.row]
    write_results(tmp_path / "sub" / "results.json", [{**first.row, "config_sha": "other"}])
    assert len(collect(tmp_path)) == 2
    write_results(tmp_path / "sub" / "results.json", [{**first.row, "steps": 7}])
    with pytest.raises(ValueError, match=r"gnl on digits, normal class 3, seed 0, matching efdm: steps is 200 in .*"):
        collect(tmp_path)


def test_nothing_to_collect(tmp_path):
    with pytest.raises(ValueError, match=rf"results: no results.json in {tmp_path}"):
        collect(tmp_path)
    with pytest.raises(ValueError, match=r"no results\.json in no folder"):
        collect()
    with pytest.raises(FileNotFoundError, match="nowhere"):
        collect(tmp_path / "nowhere")
    (tmp_path / "results.json").write_text("{")
    with pytest.raises(ValueError, match=r"results\.json: "):
        collect(tmp_path)


def test_rows_of_earlier_versions_have_no_scores(tmp_path):
    write_results(tmp_path / "results.json", [row()])
    assert collect_scores(tmp_path) == []


def test_scores_of_another_evaluation_are_refused(tmp_path):
    one, other = evaluation(0), evaluation(1)
    write_evaluations(tmp_path, [one])
    write_scores(tmp_path / "scores.npz", [other.tests])
    with pytest.raises(ValueError, match=r"row 0, test set 'id': AUROC .* they are of different evaluations"):
        collect_scores(tmp_path)
    write_scores(tmp_path / "scores.npz", [one.tests, one.tests])
    with pytest.raises(ValueError, match=r"scores of 2 rows, expected the 1 of"):
        collect_scores(tmp_path)
    write_scores(tmp_path / "scores.npz", [{"id": one.tests["id"]}])
    with pytest.raises(ValueError, match=r"row 0 has test sets \['id'\], expected \['id', 'photo'\]"):
        collect_scores(tmp_path)
