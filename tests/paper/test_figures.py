"""The paper's figures from results: which rows are drawn, and what is asked for where some are missing."""

from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image
from result_rows import row

from gnl_jax.evaluation.collect import write_evaluations
from gnl_jax.evaluation.metrics import auroc
from gnl_jax.evaluation.results import write_results
from gnl_jax.evaluation.scores import Scored
from gnl_jax.paper import figures
from gnl_jax.paper.figures import ALPHAS, CHOICES, alpha_curves, draw_figure, parse_task, severity_curves
from gnl_jax.paper.rules import CLASSES

NONE = {"kind": "none", "alpha": None, "anchor": None, "k": None}


def efdm(alpha):
    return {"kind": "efdm", "alpha": alpha, "anchor": "first", "k": 1}


def severity_rows(*, method, matching, classes=CLASSES["mvtec"]):
    shifts = {f"contrast:{s}": 1 - s / 10 for s in range(1, 6)}
    return [
        row(
            dataset="mvtec", normal=normal, method=method, matching=matching, seed=seed,
            auroc_ood={shift: value - 0.02 * seed for shift, value in shifts.items()},
        )
        for normal in classes
        for seed in (0, 1)
    ]  # fmt: skip


def scored_rows(dataset, normal, method, matching, tests, *, seed=0, **changes):
    rng = np.random.default_rng(seed)
    labels = np.arange(20) % 2 == 0
    scores = {test: Scored((rng.normal(size=20) + labels).astype(np.float32), labels) for test in tests}
    areas = {test: auroc(*scored) for test, scored in scores.items()}
    fields = {"dataset": dataset, "normal": normal, "method": method, "matching": matching, "seed": seed}
    return SimpleNamespace(row=row(auroc_id=areas.pop("id"), auroc_ood=areas, **fields, **changes), tests=scores)


def test_severities_are_averaged_over_classes_and_seeds():
    rows = severity_rows(method="rd4ad", matching=NONE) + severity_rows(method="gnl", matching=efdm(0.5))
    rows += severity_rows(method="efdm", matching=NONE, classes=("zipper", "wood"))
    rows += [row(dataset="mvtec", normal="tile", method="efdm", matching=NONE, auroc_ood={"contrast:1": 0.1})]
    curves = severity_curves(rows, CHOICES[4]._replace(methods=("rd4ad", "efdm", "gnl")))
    assert list(curves) == ["RD4AD", "EFDM (2 of 15 classes)", "GNL"]  # a class without all severities is none
    for points in curves.values():
        assert [point.x for point in points] == [1, 2, 3, 4, 5]
        assert [point.mean for point in points] == pytest.approx([0.89, 0.79, 0.69, 0.59, 0.49])
        assert [point.deviation for point in points] == pytest.approx([0.02 / 2**0.5] * 5)
    one = severity_curves(rows, CHOICES[4]._replace(tasks=(("mvtec", "wood"),), methods=("efdm",)))
    assert list(one) == ["EFDM"]


def test_missing_severities_are_named_with_the_command_that_makes_them():
    rows = severity_rows(method="rd4ad", matching=NONE)
    message = r"no normal class has Augmix on mvtec at the severities 1 to 5 of contrast; .*evaluate\.py --workdir=RUN "
    with pytest.raises(ValueError, match=message + r"--out=RUN/contrast --config.dataset.shifts=\"\('contrast:1',"):
        severity_curves(rows, CHOICES[4])


def test_alphas_have_a_curve_for_each_test_set():
    rows = [
        row(
            dataset="pacs", normal=normal, matching=efdm(alpha),
            auroc_id=0.9, auroc_ood={"art_painting": 0.5 + alpha / 10, "cartoon": 0.6, "sketch": 0.7, "noise": 0.1},
        )
        for normal in CLASSES["pacs"]
        for alpha in (*ALPHAS, 0.55)
    ]  # fmt: skip
    curves = alpha_curves(rows, CHOICES[5])
    assert list(curves) == ["ID", "art painting", "cartoon", "sketch"]
    assert [point.x for point in curves["ID"]] == [0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1]
    assert [point.mean for point in curves["art painting"]] == pytest.approx([0.5 + a / 10 for a in ALPHAS])
    del rows[3]
    assert next(iter(alpha_curves(rows, CHOICES[5]))) == "ID (6 of 7 classes)"
    with pytest.raises(
        ValueError, match=r"GNL on pacs, test set id, at the alphas 0 to 1; .* --alphas=0,0\.1,.*,0\.9,1$"
    ):
        alpha_curves(rows[:3], CHOICES[5])
    with pytest.raises(ValueError, match="figure 5: got methods dinl, expected one with matching"):
        alpha_curves(rows, CHOICES[5]._replace(methods=("dinl",)))


def test_scores_are_those_of_the_lowest_seed_on_the_papers_test_sets(tmp_path):
    tests = ("id", "art_painting", "cartoon", "sketch")
    wanted = {}
    for name, matching in (("rd4ad", NONE), ("mixstyle", NONE), ("gnl", efdm(0.5))):
        for seed in (2, 1):
            made = scored_rows("pacs", "house", name, matching, (*tests, "contrast:5"), seed=seed)
            write_evaluations(tmp_path / name / str(seed), [made])
            wanted[name] = made
    more = scored_rows("pacs", "house", "gnl", efdm(0.5), ("id", "contrast:1"), seed=1, config_sha="severities")
    write_evaluations(tmp_path / "gnl" / "1" / "contrast", [more])
    panels = figures.score_panels(figures.collect_scores(tmp_path), CHOICES[2])
    assert {task: list(methods) for task, methods in panels.items()} == {
        ("pacs", "house"): ["RD4AD", "Mixstyle", "GNL"]
    }
    for name, label in (("rd4ad", "RD4AD"), ("gnl", "GNL")):
        assert tuple(panels["pacs", "house"][label]) == tests
        np.testing.assert_array_equal(
            panels["pacs", "house"][label]["cartoon"].score, wanted[name].tests["cartoon"].score
        )
    with pytest.raises(
        ValueError, match=r"no scores of GNL on pacs with the normal class 'dog' \(training gnl or dinl, "
    ):
        draw_figure(2, tmp_path / "x.png", [tmp_path], tasks=(("pacs", "dog"),), methods=("gnl",))
    with pytest.raises(
        ValueError, match=r"configs/mvtec\.py:zipper,rd4ad --workdir=RUN && python experiments/evaluate"
    ):
        draw_figure(6, tmp_path / "x.png", [tmp_path], tasks=(("mvtec", "zipper"),))
    draw_figure(2, tmp_path / "figure2.png", [tmp_path])
    draw_figure(6, tmp_path / "figure6.png", [tmp_path], tasks=(("pacs", "house"),), methods=("rd4ad", "gnl"))
    for name in ("figure2.png", "figure6.png"):
        with Image.open(tmp_path / name) as picture:
            assert min(picture.size) > 300
    assert not (tmp_path / "x.png").exists()


def test_curves_are_drawn_from_rows_alone(tmp_path):
    write_results(tmp_path / "results.json", severity_rows(method="gnl", matching=efdm(0.5)))
    draw_figure(4, tmp_path / "figure4.svg", [tmp_path], methods=("gnl",))
    assert "severity" in (tmp_path / "figure4.svg").read_text()
    with pytest.raises(ValueError, match="figure 4: got 2 tasks, expected one"):
        draw_figure(4, tmp_path / "x.svg", [tmp_path], tasks=(("mvtec", ""), ("pacs", "")))
    with pytest.raises(ValueError, match="figure: got 3, expected one of 2, 4, 5, 6"):
        draw_figure(3, tmp_path / "x.svg", [tmp_path])


@pytest.mark.parametrize(
    ("text", "task"),
    [("pacs/house", ("pacs", "house")), ("mvtec", ("mvtec", "")), ("folder/parts/good", ("folder/parts", "good"))],
)
def test_tasks_are_a_dataset_and_a_class(text, task):
    assert parse_task(text) == task
