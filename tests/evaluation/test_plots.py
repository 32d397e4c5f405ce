"""Pictures: what is drawn is what was given, and the same input gives the same file."""

import matplotlib
import numpy as np
import pytest
from matplotlib.figure import Figure

from gnl_jax.evaluation.metrics import auroc
from gnl_jax.evaluation.plots import ANOMALOUS, NORMAL, GalleryItem, name_in_picture, plot_gallery, plot_scores


@pytest.fixture
def drawn(monkeypatch):
    """The figures that were saved."""
    figures, save = [], Figure.savefig
    monkeypatch.setattr(Figure, "savefig", lambda self, *a, **k: (figures.append(self), save(self, *a, **k)))
    return figures


def panels():
    rng = np.random.default_rng(0)
    labels = np.arange(60) % 3 == 0
    return {
        method: {
            test: (rng.normal(size=60) + gap * labels + shift, labels) for test, shift in [("id", 0), ("photo", 5)]
        }
        for method, gap in [("rd4ad", 1), ("costs $5_a$", 3)]
    }


def item(size=32, **changes):
    rng = np.random.default_rng(size)
    image = rng.integers(0, 256, (size, size, 3), np.uint8)
    return GalleryItem(image, rng.random((size, size)), 0.5, False, "id")._replace(**changes)


def test_each_panel_holds_the_histograms_of_both_classes_with_the_bins_of_its_row(tmp_path, drawn):
    data = panels()
    plot_scores(tmp_path / "scores.png", data)
    axes = np.array(drawn[0].axes).reshape(2, 2)
    for row, (method, cases) in zip(axes, data.items(), strict=True):
        edges = np.histogram_bin_edges(np.concatenate([scores for scores, _ in cases.values()]), 40)
        assert row[0].get_ylabel() == method
        assert not row[0].yaxis.label.get_parse_math()  # a name is no formula
        assert row[0].get_xlim() == row[1].get_xlim()
        for panel, (test, (scores, labels)) in zip(row, cases.items(), strict=True):
            name = {"id": "ID", "photo": "photo"}[test]
            assert panel.get_title() == f"{name}, AUROC {100 * auroc(scores, labels):.1f}"
            for patch, members, colour in zip(panel.patches, (~labels, labels), (NORMAL, ANOMALOUS), strict=True):
                outline = patch.get_xy()
                density, _ = np.histogram(scores[members], edges, density=True)
                np.testing.assert_allclose(np.unique(outline[:, 0]), edges)
                np.testing.assert_allclose(outline[1 : 2 * len(density) : 2, 1], density)
                assert patch.get_edgecolor() == matplotlib.colors.to_rgba(colour)
    assert [text.get_text() for text in drawn[0].legends[0].get_texts()] == ["normal", "anomalous"]


def test_all_maps_of_a_gallery_share_one_colour_scale(tmp_path, drawn):
    bright, dark = np.full((32, 32), 4.0), np.full((64, 64), -1.0)
    grey = np.full((64, 64, 3), 100, np.uint8)
    items = [item(map=bright), item(64, image=grey, map=dark, anomalous=True, test="gaussian_noise", score=2)]
    plot_gallery(tmp_path / "gallery.png", items)
    first, first_map, second, second_map, bar = drawn[0].axes
    np.testing.assert_array_equal(first.images[0].get_array(), items[0].image)
    np.testing.assert_array_equal(second.images[0].get_array(), grey)
    lowest = np.array(matplotlib.colormaps["inferno"](0.0)[:3])
    expected = np.broadcast_to(0.3 * 100 / 255 + 0.7 * lowest, (64, 64, 3))
    np.testing.assert_allclose(second_map.images[0].get_array(), expected)
    assert (first.get_title("left"), second.get_title("left")) == ("ID, normal", "gaussian noise, anomalous")
    assert (first_map.get_title("right"), second_map.get_title("right")) == ("score 0.500", "score 2.00")
    assert bar.get_ylim() == (-1, 4)


def test_a_defect_is_outlined_and_an_empty_mask_is_not(tmp_path, drawn):
    mask = np.zeros((32, 32), bool)
    plot_gallery(tmp_path / "a.png", [item(mask=mask)])
    mask[4:8, 4:8] = True
    plot_gallery(tmp_path / "b.png", [item(mask=mask)])
    without, outlined = (len(figure.axes[0].collections) for figure in drawn)
    assert (without, outlined) == (0, 1)


@pytest.mark.parametrize("count", [1, 2, 3, 5])
def test_any_number_of_items_fits_the_grid(tmp_path, drawn, count):
    plot_gallery(tmp_path / "g.png", [item()] * count, columns=3)
    assert len(drawn[0].axes) == 2 * count + 1


@pytest.mark.parametrize("suffix", [".png", *(pytest.param(name, marks=pytest.mark.slow) for name in (".pdf", ".svg"))])
def test_the_same_input_gives_the_same_bytes_and_no_date(tmp_path, suffix):
    files = [tmp_path / f"{i}{suffix}" for i in range(2)]
    for draw, data in ((plot_scores, panels()), (plot_gallery, [item()])):
        for file in files:
            draw(file, data)
        first, second = (file.read_bytes() for file in files)
        assert first == second
        assert b"Matplotlib v" not in first
        assert b"CreationDate" not in first
        assert b"dc:date" not in first
    assert sorted(tmp_path.iterdir()) == files  # no temporary file left


def test_wrong_input_is_an_error_that_names_it_and_leaves_no_file(tmp_path):
    path, labels = tmp_path / "x.png", np.array([True, False])
    with pytest.raises(ValueError, match=r"path: got .*x\.bmp.*\.png"):
        plot_gallery(tmp_path / "x.bmp", [item()])
    with pytest.raises(ValueError, match="panels: got none"):
        plot_scores(path, {})
    with pytest.raises(ValueError, match="not finite"):
        plot_scores(path, {"gnl": {"id": (np.array([0.0, np.nan]), labels)}})
    with pytest.raises(ValueError, match="items: got none"):
        plot_gallery(path, [])
    with pytest.raises(ValueError, match=r"items\[1\]\.map: got shape \(8, 8\), expected \(32, 32\)"):
        plot_gallery(path, [item(), item(map=np.zeros((8, 8)))])
    with pytest.raises(ValueError, match=r"items\[0\]: the score or the map is not finite"):
        plot_gallery(path, [item(map=np.full((32, 32), np.nan))])
    with pytest.raises(ValueError, match=r"items\[0\]\.image: got float64"):
        plot_gallery(path, [item(image=np.zeros((32, 32, 3)))])
    assert list(tmp_path.iterdir()) == []


def test_names_of_test_sets():
    names = ["id", "mnist_m", "defocus_blur", "contrast:5"]
    assert [name_in_picture(name) for name in names] == ["ID", "MNIST-M", "defocus blur", "contrast:5"]
