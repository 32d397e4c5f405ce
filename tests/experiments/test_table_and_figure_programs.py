"""experiments/tables.py and figures.py from the command line; what they show is tested in tests/evaluation."""

import programs
import pytest
from result_rows import row

from gnl_jax.evaluation.results import write_results


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    folder = tmp_path_factory.mktemp("results")
    matching = {"kind": "efdm", "alpha": 0.9, "anchor": "first", "k": 1}
    rows = [row(dataset="mnist", normal=n, matching=matching, auroc_ood={"mnist_m": 0.7}) for n in "0123456789"]
    (folder / "gnl").mkdir()
    write_results(folder / "gnl" / "results.json", rows)
    return folder


@pytest.mark.slow
def test_a_table_is_printed_and_written(results, tmp_path):
    done = programs.run("tables", "--table=3", f"--results={results}")
    assert (done.returncode, done.stderr) == (0, "")
    assert "| GNL (Ours) | 98.77 (96.91) | 70.00 (70.87) | – (88.59) | – (58.50) |\n" in done.stdout
    done = programs.run_quickly(
        "tables", "--table=8", f"--results={results}", "--format=csv", f"--out={tmp_path}/t.csv"
    )
    assert done.stdout == f"wrote {tmp_path}/t.csv\n"
    assert "8,gnl,GNL (Ours),3,mnist_m,70.0,,1,1,1,64.69,\n" in (tmp_path / "t.csv").read_text()


@pytest.mark.slow
def test_what_cannot_be_shown_is_one_line(results, tmp_path):
    for program, arguments, line in (
        ("tables", ["--table=4", f"--results={results}"], "error: table 4: none of 10 rows of results belongs in it"),
        ("tables", ["--table=3"], "error: results: missing, expected folders or files"),
        ("tables", ["--table=3", f"--results={tmp_path}"], f"error: results: no results.json in {tmp_path}"),
        (
            "figures",
            ["--figure=5", f"--results={results}", f"--out={tmp_path}/f.png", "--tasks=mnist"],
            "error: results: no normal class has GNL on mnist, test set id, at the alphas 0 to 1; make them",
        ),
    ):
        done = programs.run_quickly(program, *arguments)
        assert done.returncode == 1
        assert done.stdout == ""
        assert done.stderr.startswith(line)
        assert "Traceback" not in done.stderr
    assert list(tmp_path.iterdir()) == []
