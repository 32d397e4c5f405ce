"""Curves and distributions: what is drawn is what was given."""

import matplotlib
import numpy as np
import pytest
from matplotlib.figure import Figure

from gnl_jax.evaluation.charts import LINES, Point, plot_curves, plot_distributions
from gnl_jax.evaluation.metrics import auroc
from gnl_jax.evaluation.plots import ANOMALOUS, NORMAL
from gnl_jax.evaluation.scores import Scored


@pytest.fixture
def drawn(monkeypatch):
    """The figures that were saved."""
    figures, save = [], Figure.savefig
    monkeypatch.setattr(Figure, "savefig", lambda self, *a, **k: (figures.append(self), save(self, *a, **k)))
    return figures


def scored(seed):
    rng = np.random.default_rng(seed)
    labels = np.arange(50) % 3 == 0
    return Scored((rng.normal(size=50) + 2 * labels).astype(np.float32), labels)


def test_a_curve_has_its_points_and_the_deviation_of_its_seeds_as_a_band(tmp_path, drawn):
    curves = {
        "GNL": [Point(1, 0.9, 0.01), Point(2, 0.8, 0.02), Point(5, 0.6, None)],
        "RD4AD (3 of 15 classes)": [Point(1, 0.7), Point(2, 0.5)],
    }
    plot_curves(tmp_path / "curves.png", curves, xlabel="severity", ticks=(1, 2, 5))
    (axes,) = drawn[0].axes
    one, other = axes.get_lines()
    np.testing.assert_allclose(one.get_xydata(), [[1, 90], [2, 80], [5, 60]])
    np.testing.assert_allclose(other.get_xydata(), [[1, 70], [2, 50]])
    assert (one.get_color(), one.get_marker()) != (other.get_color(), other.get_marker())
    (band,) = axes.collections  # none where there is one seed
    corners = band.get_paths()[0].vertices
    assert {(1, 89), (1, 91), (2, 78), (2, 82), (5, 60)} <= {tuple(np.round(c, 9).tolist()) for c in corners}
    assert [text.get_text() for text in drawn[0].legends[0].get_texts()] == list(curves)
    assert axes.get_xticks().tolist() == [1, 2, 5]
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("severity", "AUROC (%)")


def test_the_legend_is_not_cut_off(tmp_path, drawn):
    curves = {f"{name} (14 of 15 classes)": [Point(1, 0.5)] for name in ("RD4AD", "Augmix", "EFDM", "GNL")}
    plot_curves(tmp_path / "curves.png", curves, xlabel="severity", ticks=(1,))
    (legend,) = drawn[0].legends
    box = legend.get_window_extent()
    assert box.x0 >= 0
    assert box.x1 <= drawn[0].bbox.x1


def test_distributions_are_histograms_of_both_classes_back_to_back(tmp_path, drawn):
    panels = {
        "PACS elephant": {"RD4AD": {"id": scored(0), "art_painting": scored(1)}, "GNL": {"id": scored(2)}},
        "MVTec AD zipper": {"RD4AD": {"id": scored(3)}},
    }
    plot_distributions(tmp_path / "scores.png", panels)
    axes = np.array(drawn[0].axes).reshape(2, 2)
    titles = [[panel.get_title() for panel in line if panel.get_visible()] for line in axes]
    assert titles == [["PACS elephant: RD4AD", "PACS elephant: GNL"], ["MVTec AD zipper: RD4AD"]]
    cases = panels["PACS elephant"]["RD4AD"]
    labels = [label.get_text() for label in axes[0, 0].get_xticklabels()]
    areas = [f"{100 * auroc(*case):.1f}" for case in cases.values()]
    assert labels == [f"{areas[0]}\nID", f"{areas[1]}\nart\npainting"]
    edges = np.histogram_bin_edges(np.concatenate([case.score for case in cases.values()]), 40)
    patches = iter(axes[0, 0].patches)
    medians = iter(axes[0, 0].get_lines())
    for place, case in enumerate(cases.values()):
        for side, colour, wanted in ((-1, NORMAL, False), (1, ANOMALOUS, True)):
            scores = case.score[case.anomalous == wanted]
            counts, _ = np.histogram(scores, edges)
            patch = next(patches)
            values, drawn_edges, baseline = patch.get_data()
            np.testing.assert_allclose(side * (values - place) / 0.42, np.trim_zeros(counts) / counts.max(), atol=1e-9)
            assert baseline == place
            assert drawn_edges[0] <= scores.min() <= scores.max() <= drawn_edges[-1]
            assert patch.get_edgecolor() == matplotlib.colors.to_rgba(colour)
            assert next(medians).get_ydata()[0] == pytest.approx(np.median(scores))


def test_the_same_input_gives_the_same_bytes(tmp_path):
    for suffix in (".png", ".svg"):
        files = [tmp_path / f"{i}{suffix}" for i in range(2)]
        for file in files:
            plot_distributions(file, {"a": {"b": {"id": scored(0)}}})
        assert files[0].read_bytes() == files[1].read_bytes()


def test_wrong_input_is_an_error(tmp_path):
    path, points = tmp_path / "x.png", [Point(0, 0.5)]
    for count in (0, len(LINES) + 1):
        with pytest.raises(ValueError, match=f"curves: got {count}, expected 1 to {len(LINES)}"):
            plot_curves(path, {str(i): points for i in range(count)}, xlabel="", ticks=())
    with pytest.raises(ValueError, match=r"path: got .*x\.gif"):
        plot_curves(tmp_path / "x.gif", {"GNL": points}, xlabel="", ticks=())
    for panels in ({}, {"task": {}}):
        with pytest.raises(ValueError, match="panels: got none"):
            plot_distributions(path, panels)
    assert list(tmp_path.iterdir()) == []
