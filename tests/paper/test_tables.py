"""The paper's tables from rows: which number lands where, what is said of missing ones, three formats."""

import csv
import io

import pytest
from result_rows import row

from gnl_jax.paper.rules import CLASSES
from gnl_jax.paper.table_formats import FORMATS, to_csv, to_latex, to_markdown
from gnl_jax.paper.tables import build_table, time_table

NONE = {"kind": "none", "alpha": None, "anchor": None, "k": None}
EFDM = {"kind": "efdm", "alpha": 0.5, "anchor": "first", "k": 1}


def rows(dataset, tests, *, method="gnl", matching=EFDM, classes=None, seeds=(0, 1)):
    """AUROC 0.5 on "id" and 0.01 more for each further test set, class and seed."""
    return [
        row(
            method=method, dataset=dataset, normal=normal, seed=seed, matching=matching,
            auroc_id=0.5 + 0.01 * (c + seed),
            auroc_ood={test: 0.5 + 0.01 * (c + seed + t) for t, test in enumerate(tests, start=1)},
        )
        for c, normal in enumerate(classes or CLASSES[dataset])
        for seed in seeds
    ]  # fmt: skip


PACS = ("art_painting", "cartoon", "sketch")


def lines(text):
    """First cells of a Markdown line to the others."""
    cells = [line.strip("| ").split(" | ") for line in text.splitlines() if line.startswith("| ")]
    return {tuple(line[:-4]): line[-4:] for line in cells}


def test_a_summary_is_the_mean_over_classes_and_seeds_beside_the_papers():
    table = build_table(4, rows("pacs", PACS) + rows("mnist", ("mnist_m",)) + rows("pacs", PACS, matching=NONE))
    # Classes 0 to 6 add 0.03 on average, seeds 0 and 1 half a percent with a deviation of 0.01 / sqrt(2).
    assert lines(to_markdown(table))[("GNL (Ours)",)] == [
        "53.50 ± 0.71 (87.67)",
        "54.50 ± 0.71 (65.62)",
        "55.50 ± 0.71 (67.96)",
        "56.50 ± 0.71 (62.39)",
    ]
    assert lines(to_markdown(table))[("Augmix+EFDM",)] == ["– (77.28)", "– (60.93)", "– (63.18)", "– (56.67)"]
    assert "Ours: seeds 0, 1; optimiser steps 200; ID test images 364; teacher resnet18 random; anchor first;" in (
        to_markdown(table)
    )


def test_missing_classes_and_seeds_are_said():
    some = rows("pacs", PACS, classes=("dog", "horse"), seeds=(0,)) + rows("pacs", PACS, classes=("dog",), seeds=(1,))
    text = to_markdown(build_table(4, some))
    assert lines(text)[("GNL (Ours)",)][0] == "50.50, 2 of 7 classes (87.67)"
    assert "GNL (Ours): seed 1 is left out, for it lacks some of the 2 classes." in text
    whole = to_markdown(build_table(4, rows("pacs", PACS)))
    assert "classes" not in whole


def test_mnist_has_one_vs_all_and_even_odd():
    matching = {**EFDM, "alpha": 0.9}
    tested = rows("mnist", ("mnist_m",), matching=matching, seeds=(0,))
    even = rows("mnist", ("mnist_m",), matching=matching, classes=("even",), seeds=(0,))
    odd = rows("mnist", ("mnist_m",), matching=matching, classes=("odd",), seeds=(0,))
    text = to_markdown(build_table(3, tested + even + odd))
    assert "| Method | One-vs-all ID | One-vs-all MNIST-M | Even/odd ID | Even/odd MNIST-M |" in text
    assert lines(text)[("GNL (Ours)",)] == ["54.50 (96.91)", "55.50 (70.87)", "50.00 (88.59)", "51.00 (58.50)"]


def test_lines_of_the_ablations():
    both = [
        r
        for method, start in (("rd4ad", 0), ("gnl", 0), ("lambda_85", 0))
        for matching in (NONE, EFDM)
        for r in rows("pacs", PACS, method=method, matching=matching, seeds=(start,))
    ]
    five = lines(to_markdown(build_table(5, both)))
    assert [key for (key,), cells in five.items() if cells[0].startswith("53.00")] == [
        *("Baseline", "DINL", "ATTA", "DINL+ATTA"),
    ]
    six = lines(to_markdown(build_table(6, both)))
    assert [key for (key,), cells in six.items() if cells[0].startswith("53.00")] == [
        *("0.90, 0.050, 0.050", "0.85, 0.075, 0.075"),
    ]


def test_tables_per_class_have_a_block_for_each_class_and_mark_misprints():
    shifts = ("brightness", "contrast", "defocus_blur", "gaussian_noise")
    table = build_table(11, rows("mvtec", shifts, classes=("carpet", "zipper")))
    text = to_markdown(table)
    found = {line.split(" | ")[0].strip("| "): line for line in text.splitlines() if "GNL" in line}
    assert list(found)[:2] == ["carpet", "leather"]
    assert found["carpet"].endswith("| 50.50 ± 0.71 (99.48) | 51.50 ± 0.71 (99.23) | 52.50 ± 0.71 (99.20) "
                                    "| 53.50 ± 0.71 (99.52) | 54.50 ± 0.71 (99.11) |")  # fmt: skip
    assert "| metal nut | KDAD | – (81.35) |" in text
    assert "| carpet | KDAD | – (76.59) [1] |" in text
    assert text.rstrip().splitlines()[-1].startswith("[1] Printed beside the label of the line above")


def test_csv_has_every_number_unrounded_and_the_notes():
    table = build_table(1, rows("mvtec", ("contrast",), classes=("zipper",), method="rd4ad", matching=NONE))
    found = {(line["method"], line["test"]): line for line in csv.DictReader(io.StringIO(to_csv(table)))}
    assert len(found) == 55
    line = found["rd4ad", "contrast"]
    assert float(line["mean"]) == pytest.approx(51.5)
    assert float(line["deviation"]) == pytest.approx(0.5**0.5)
    assert [line[name] for name in ("table", "label", "class", "seeds", "classes", "of_classes", "paper")] == [
        *("1", "RD4AD", "mean", "2", "1", "15", "94.12"),
    ]
    assert line["paper_note"] == "The mean of the 15 classes in Table 11 is 94.36."
    assert found["rd4ad", "brightness"]["mean"] == found["gnl", "id"]["mean"] == ""


def test_latex_escapes_what_it_must():
    text = to_latex(build_table(6, rows("pacs", PACS, matching=NONE)))
    assert r"\begin{tabular}{lllll}" in text
    assert r"53.50 $\pm$ 0.71 (85.71)" in text
    assert r"using various $\lambda$ settings" in text
    ablation = to_latex(build_table(5, rows("pacs", PACS)))
    assert r"L\_abs only & -- (82.02)" in ablation
    assert r"AUROC results (\%)" in ablation
    assert "±" not in text + ablation
    eight = to_latex(build_table(8, rows("mnist", ("mnist_m",), method="kdad", matching=NONE)))
    assert eight.count("\\midrule") == 10  # beneath the header, and between the digits


def test_what_the_paper_does_not_have_stands_below_and_says_so():
    banks = rows("pacs", PACS, method="matched_bank") + rows("pacs", PACS, method="patchcore", matching=NONE)
    unmatched = rows("pacs", PACS, method="matched_bank", matching=NONE, seeds=(7,))
    table = build_table(4, rows("pacs", PACS) + banks + unmatched)
    text = to_markdown(table)
    assert list(lines(text))[-3:] == [
        *(("GNL (Ours)",), ("PatchCore (not in the paper)",), ("Matched bank (not in the paper)",)),
    ]
    assert lines(text)[("Matched bank (not in the paper)",)] == [
        *("53.50 ± 0.71", "54.50 ± 0.71", "55.50 ± 0.71", "56.50 ± 0.71"),
    ]
    found = [line for line in csv.DictReader(io.StringIO(to_csv(table))) if line["method"] == "patchcore"]
    assert [(line["test"], line["paper"], line["paper_note"]) for line in found] == [
        (test, "", "") for test in ("id", *PACS)
    ]
    assert "not in the paper" in to_latex(build_table(4, banks))
    per_class = to_markdown(build_table(10, banks))
    assert per_class.count("Matched bank (not in the paper)") == per_class.count("GNL") > 1
    assert "not in the paper" not in to_markdown(build_table(5, rows("pacs", PACS) + banks))  # an ablation


def test_times_are_seconds_with_four_decimals():
    seconds = {(name, column): 1.5 for name in ("rd4ad", "gnl") for column in ("training", "inference")}
    seconds["gnl", "inference"] = 0.04567
    text = to_markdown(time_table(seconds, notes=["On a toaster."]))
    assert "| Method | Training (s per epoch) | Inference (s per image) |" in text
    assert "| Ours | 1.5000 (7.2557) | 0.0457 (0.0356) |" in text
    assert "On a toaster." in text
    with pytest.raises(ValueError, match="table 7: its numbers are timings"):
        build_table(7, [])


def test_results_of_other_tables_are_none():
    with pytest.raises(ValueError, match=r"table 4: none of 20 rows .* dataset 'pacs' and methods deep_svdd, "):
        build_table(4, rows("mnist", ("mnist_m",)))
    assert list(FORMATS) == ["markdown", "csv", "latex"]
