"""Makes the tables of docs/results.md that compare detectors on folders, from the JSON files of `folder_shifts.py`.

python experiments/result_tables.py [--check] [docs/results]

A file of docs/results/ is one fit: DATA_METHOD_SEED.json. A cell is the mean over seeds of the division, with the
smallest and the largest where there are several. With --check nothing is printed unless the page lacks a table.
"""

import json
import sys
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

from absl import app, flags

ROOT = Path(__file__).parent.parent
PAGE = ROOT / "docs/results.md"
CHECK = flags.DEFINE_bool("check", False, "Only see whether docs/results.md has these tables.")


def read_results(folder: Path) -> dict[str, list[dict]]:
    """Data to its fits, by method and seed."""
    found = defaultdict(list)
    for path in sorted(folder.glob("*.json")):
        result = json.loads(path.read_text())
        found[path.stem.removesuffix(f"_{result['method']}_{result['seed']}")].append(result)
    return dict(found)


def cell(values: list[float]) -> str:
    """The mean, and the smallest and largest of several."""
    mean = f"{sum(values) / len(values):.1f}"
    return mean if len(values) == 1 else f"{mean} ({min(values):.1f} to {max(values):.1f})"


def table(results: list[dict], key: str) -> list[str]:
    """Lines of one table: a row for each method and matching, a column for each condition, and the mean of these."""
    cells, seeds = defaultdict(list), defaultdict(set)
    for result in results:
        for row in result["rows"]:
            cells[result["method"], row["matching"], row["condition"]].append(row[key])
            seeds[result["method"]].add(result["seed"])
    conditions = list(dict.fromkeys(condition for _, _, condition in cells))
    lines = [f"| method | matching | seeds | {' | '.join(conditions)} | mean |", "|---" * (len(conditions) + 4) + "|"]
    for method, matching in dict.fromkeys((method, matching) for method, matching, _ in cells):
        of_row = [cells[method, matching, condition] for condition in conditions]
        if all(of_row):
            means = [sum(of_seed) / len(of_seed) for of_seed in zip(*of_row, strict=True)]
            shown = " | ".join(map(cell, [*of_row, means]))
            lines.append(f"| {method} | {matching} | {len(seeds[method])} | {shown} |")
    return lines


def tables(folder: Path) -> Iterator[tuple[str, list[str]]]:
    """(what it shows, lines) of every table."""
    titles = {"auroc": "image AUROC", "flagged": "good parts flagged, %", "caught": "defective parts caught, %"}
    for data, results in read_results(folder).items():
        for key, title in titles.items():
            yield f"{data}: {title}", table(results, key)


def main(argv):
    page = PAGE.read_text()
    for title, lines in tables(Path(argv[1]) if len(argv) > 1 else ROOT / "docs/results"):
        text = "\n".join(lines)
        if not CHECK.value:
            print(f"{title}\n\n{text}\n")
        elif text not in page:
            sys.exit(f"docs/results.md lacks the table {title}:\n\n{text}")


if __name__ == "__main__":
    app.run(main)
