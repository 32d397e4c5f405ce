"""The transcribed tables against each other: what the paper says twice it says alike, but for the marked misprints."""

import statistics

import pytest

from gnl_jax.config import METHODS
from gnl_jax.paper.published import MEAN, TABLES, paper_table, parse_table
from gnl_jax.paper.rules import CLASSES, RULES

TEXTURES = ("carpet", "leather", "grid", "tile", "wood")


def class_mean(numbers, name, test):
    cells = [cell for n in numbers for (row, _, t), cell in paper_table(n).cells.items() if (row, t) == (name, test)]
    return statistics.fmean(cell.value for cell in cells)


def test_every_table_has_the_rows_and_columns_of_the_paper():
    sizes = {n: (len(paper_table(n).labels), len(paper_table(n).columns)) for n in TABLES}
    assert sizes == {
        1: (11, 5),
        2: (11, 5),
        3: (11, 4),
        4: (11, 4),
        5: (6, 4),
        6: (4, 4),
        7: (2, 2),
        8: (9, 20),
        9: (9, 12),
        10: (9, 16),
        11: (9, 75),
    }
    for n in TABLES:
        table = paper_table(n)
        assert len(table.cells) == len(table.labels) * len(table.columns)
        assert set(table.labels) <= set(RULES)
    assert set(RULES) - {"image_bank_unmatched"} == set(METHODS)  # one run has rows of both matchings


def test_classes_and_test_sets_are_those_of_the_datasets():
    for n, dataset in ((8, "mnist"), (11, "mvtec")):
        assert paper_table(n).dataset == dataset
        assert sorted({normal for normal, _ in paper_table(n).columns}) == sorted(CLASSES[dataset])
    pacs = [normal for n in (9, 10) for normal, _ in paper_table(n).columns]
    assert tuple(dict.fromkeys(pacs)) == CLASSES["pacs"]
    assert len(CLASSES["cifar10"]) == 10
    for n in (1, 2):
        tests = [test for _, test in paper_table(n).columns]
        assert tests == ["id", "brightness", "contrast", "defocus_blur", "gaussian_noise"]
    assert [test for _, test in paper_table(4).columns] == ["id", "art_painting", "cartoon", "sketch"]


@pytest.mark.parametrize(("per_class", "summary"), [((8,), 3), ((9, 10), 4)])
def test_class_means_are_the_summary(per_class, summary):
    table = paper_table(summary)
    names = list(paper_table(per_class[0]).labels)
    for name in names:
        for normal, test in table.columns:
            if normal == MEAN:
                assert class_mean(per_class, name, test) == pytest.approx(table.cells[name, MEAN, test].value, abs=0.02)
    assert set(table.labels) - set(names) == {"augmix_mixstyle", "augmix_efdm"}


def test_table_11_disagrees_with_table_1_exactly_where_it_is_marked():
    table = paper_table(1)
    for name in paper_table(11).labels:
        for _, test in table.columns:
            cell, mean = table.cells[name, MEAN, test], class_mean((11,), name, test)
            assert (abs(cell.value - mean) > 0.0201) == bool(cell.notes), (name, test)
            assert not cell.notes or cell.notes[0].endswith(f"in Table 11 is {mean:.2f}.")
    largest = {"f_anogan", "kdad", "rd4ad", "mixstyle", "jigsaw", "gnl", "augmix", "efdm"}
    assert {name for (name, _, _), cell in table.cells.items() if cell.notes} == largest
    assert table.cells["rd4ad", MEAN, "defocus_blur"].printed == "98.9"


def test_the_shifted_labels_of_table_11_are_corrected_and_marked():
    cells = paper_table(11).cells
    assert cells["deep_svdd", "carpet", "id"].printed == "54.74"  # printed beside "Corruption"
    assert cells["rd4ad", "grid", "contrast"].printed == "97.63"  # beside "KDAD"
    assert cells["jigsaw", "wood", "gaussian_noise"].printed == "83.33"  # beside "EFDM"
    assert cells["gnl", "tile", "id"].printed == "99.59"
    marked = {(name, normal) for (name, normal, _), cell in cells.items() if cell.notes}
    assert marked == {(name, texture) for name in paper_table(11).labels if name != "gnl" for texture in TEXTURES}


def test_suspicious_columns_of_table_8_are_marked():
    cells = paper_table(8).cells
    for name in paper_table(8).labels:
        for digit in range(5):
            for test in ("id", "mnist_m"):
                one, five_later = cells[name, str(digit), test], cells[name, str(digit + 5), test]
                assert bool(five_later.notes) == (name in ("deep_svdd", "f_anogan"))
                assert not one.notes
                assert not five_later.notes or abs(one.value - five_later.value) < 0.2


def test_ablations_overlap():
    def line(number, name):
        return [cell.printed for (row, _, _), cell in paper_table(number).cells.items() if row == name]

    assert line(5, "rd4ad") == line(4, "rd4ad")
    assert line(5, "gnl") == line(4, "gnl")
    assert line(6, "dinl") == line(5, "dinl")
    assert line(7, "gnl") == ["7.2557", "0.0356"]


def content(**changes):
    table = {"caption": "", "dataset": "mnist", "columns": [["mean", "id"], ["mean", "mnist_m"]], "notes": []}
    return table | {"rows": {"gnl": {"label": "GNL", "values": ["1.0", "2.00"]}}} | changes


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"rows": {"gnl": {"label": "GNL", "values": ["1.0"]}}}, "row 'gnl': got 1 values, expected 2"),
        ({"rows": {"gnl": {"label": "GNL", "values": ["1.0", "98,1"]}}}, "got '98,1', expected a number"),
        ({"rows": {"gnl": {"label": "GNL", "values": ["1.0", "198.1"]}}}, "got '198.1', expected a number"),
        ({"columns": [["mean", "id"], ["mean", "id"]]}, "columns repeat"),
        ({"notes": [{"rows": ["kdad"], "text": "odd"}]}, "no cell has the note 'odd'"),
        ({"notes": [{"row": "gnl", "text": "odd"}]}, "unknown field 'row' of a note"),
    ],
)
def test_a_broken_table_is_an_error(changes, message):
    assert parse_table(3, content()).cells["gnl", "mean", "mnist_m"].value == 2
    with pytest.raises(ValueError, match=message):
        parse_table(3, content(**changes))


@pytest.mark.parametrize("number", [0, 12, "1"])
def test_there_are_eleven_tables(number):
    with pytest.raises(ValueError, match="expected 1 to 11"):
        paper_table(number)
