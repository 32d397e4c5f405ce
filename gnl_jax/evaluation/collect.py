"""What evaluations leave in a folder, written and found again: results.json and scores.npz, checked together."""

import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gnl_jax.evaluation.metrics import auroc
from gnl_jax.evaluation.results import read_results, write_results
from gnl_jax.evaluation.scores import Scored, read_scores, write_scores

if TYPE_CHECKING:
    from gnl_jax.evaluation.evaluate import Evaluation

Row = dict[str, Any]
RESULTS, SCORES = "results.json", "scores.npz"


def write_evaluations(folder: str | os.PathLike, evaluations: "Sequence[Evaluation]") -> None:
    """Writes results.json and scores.npz into a folder, each atomically, the results last."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    write_scores(folder / SCORES, [e.tests for e in evaluations])
    write_results(folder / RESULTS, [e.row for e in evaluations])


def collect(*paths: str | os.PathLike) -> list[Row]:
    """The rows of all results.json files below some folders, or of files named themselves, sorted by path.

    A row that stands in several files counts once (files of whole experiments may repeat those of single runs).

    Raises:
        FileNotFoundError: a path that does not exist.
        ValueError: no rows at all; a file that cannot be read; two rows of one detector (`row_key`) with different
            results. The files are named.
    """
    return [row for _, row in _unique((file, i, row) for file in find_results(*paths) for i, row in _numbered(file))]


def collect_scores(*paths: str | os.PathLike) -> list[tuple[Row, dict[str, Scored]]]:
    """As `collect`, each row with its scores: test set to `Scored`. Rows without a scores.npz beside them are left out.

    Raises ValueError, beside what `collect` does, where scores and row do not belong together.
    """
    rows = _unique((file, i, row) for file in find_results(*paths) for i, row in _numbered(file))
    tests = {file: _scores_beside(file) for file in {file for (file, _), _ in rows}}
    return [(row, scores[i]) for (file, i), row in rows if (scores := tests[file]) is not None]


def find_results(*paths: str | os.PathLike) -> list[Path]:
    """The results.json files below the folders and the files themselves, sorted, each once. Errors as `collect`."""
    found: set[Path] = set()
    for path in map(Path, paths):
        if not path.exists():
            raise FileNotFoundError(2, "no such file or folder", str(path))
        found.update(path.rglob(RESULTS) if path.is_dir() else [path])
    if not found:
        raise ValueError(f"results: no {RESULTS} in {', '.join(os.fspath(path) for path in paths) or 'no folder'}")
    return sorted(found)


def row_key(row: Mapping[str, Any]) -> tuple:
    """What tells detectors apart: method, dataset, normal class, seed, matching and configuration."""
    return (
        *(row[field] for field in ("method", "dataset", "normal", "seed")),
        *(row["matching"][field] for field in ("kind", "alpha", "anchor", "k")),
        row["config_sha"],
    )


def _numbered(file: Path) -> Iterable[tuple[int, Row]]:
    return enumerate(read_results(file))


def _unique(rows: Iterable[tuple[Path, int, Row]]) -> list[tuple[tuple[Path, int], Row]]:
    """((file, position), row) without those that repeat an earlier row's results."""
    first: dict[tuple, tuple[tuple[Path, int], Row]] = {}
    for file, position, row in rows:
        (other, _), known = first.setdefault(row_key(row), ((file, position), row))
        for field in ("steps", "auroc", "n_test"):
            if row[field] != known[field]:
                raise ValueError(
                    f"results: {row['method']} on {row['dataset']}, normal class {row['normal']}, seed {row['seed']}, "
                    f"matching {row['matching']['kind']}: {field} is {known[field]} in {other} and {row[field]} in "
                    f"{file}, expected one result for one configuration; remove or name one of them"
                )
    return list(first.values())


def _scores_beside(file: Path) -> list[dict[str, Scored]] | None:
    """The scores of each row of a results.json, or None where there is no scores.npz."""
    path = file.with_name(SCORES)
    if not path.exists():
        return None
    rows, tests = read_results(file), read_scores(path)
    if len(rows) != len(tests):
        raise ValueError(f"{path}: scores of {len(tests)} rows, expected the {len(rows)} of {file}")
    for position, (row, cases) in enumerate(zip(rows, tests)):
        areas = {"id": row["auroc"]["id"], **row["auroc"]["ood"]}
        if areas.keys() != cases.keys():
            raise ValueError(f"{path}: row {position} has test sets {list(cases)}, expected {list(areas)} as in {file}")
        for name, scored in cases.items():
            if abs(auroc(*scored) - areas[name]) > 1e-9:
                raise ValueError(
                    f"{path}: row {position}, test set {name!r}: AUROC {auroc(*scored)}, expected {areas[name]} as in "
                    f"{file}; they are of different evaluations"
                )
    return tests
