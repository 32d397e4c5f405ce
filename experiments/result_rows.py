"""Tables of docs/results.md from the JSON files of `folder_shifts.py`, and from results.json files of evaluations."""

import glob
import json
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path


def read_results(folder: Path) -> dict[str, list[dict]]:
    """Data to its fits, by method and seed."""
    found = defaultdict(list)
    for path in sorted(folder.glob("*.json")):
        result = json.loads(path.read_text())
        found[path.stem.removesuffix(f"_{result['method']}_{result['seed']}")].append(result)
    return dict(found)


def cell(values: Sequence[float], digits: int = 1) -> str:
    """The mean, and the smallest and largest of several, with so many digits after the point."""
    mean, least, most = (f"{value:.{digits}f}" for value in (sum(values) / len(values), min(values), max(values)))
    return mean if len(values) == 1 else f"{mean} ({least} to {most})"


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


def intervals_table(results: list[dict]) -> list[str]:
    """Lines of a table of single fits: the AUROC and its interval."""
    conditions = list(dict.fromkeys(row["condition"] for result in results for row in result["rows"]))
    lines = [f"| method | matching | {' | '.join(conditions)} |", "|---" * (len(conditions) + 2) + "|"]
    for result in results:
        for matching in dict.fromkeys(row["matching"] for row in result["rows"]):
            rows = {row["condition"]: row for row in result["rows"] if row["matching"] == matching}
            cells = (rows[name] for name in conditions)
            shown = ("{:.1f} ({:.0f} to {:.0f})".format(row["auroc"], *row["interval"]) for row in cells)
            lines.append(f"| {result['method']} | {matching} | {' | '.join(shown)} |")
    return lines


def tables(folder: Path) -> Iterator[tuple[str, list[str]]]:
    """(what it shows, lines) of every table."""
    yield "summary", summary(folder)
    titles = {"auroc": "image AUROC", "flagged": "good parts flagged, %", "caught": "defective parts caught, %"}
    for data, results in read_results(folder).items():
        for key, title in titles.items():
            yield f"{data}: {title}", table(results, key)
    for data, results in read_results(folder / "intervals").items():
        yield f"{data}: image AUROC, 95 % interval", intervals_table(results)
    for digits in sorted(folder.glob("digit*/")):
        rows = {path.stem: json.loads(path.read_text())["rows"] for path in sorted(digits.glob("*.json"))}
        yield f"{digits.name}: image AUROC, MNIST / MNIST-M", digits_table(rows)
    for classes in sorted(folder.glob("classes_*/")):
        rows = [row for path in sorted(classes.glob("*.json")) for row in json.loads(path.read_text())["rows"]]
        yield f"{classes.name}: image AUROC", classes_table(rows)


FOLDERS = {"tiles": "magnetic tiles", "screw": "screw"}  # AUROC, good parts flagged and defective ones caught
EVALUATED = {
    "digits": "MNIST / MNIST-M",
    "classes_pacs": "PACS",
    "classes_cifar10": "CIFAR-10",
}  # AUROC as trained on / shifted


def summary(folder: Path) -> list[str]:
    """Lines of one table: a row for each method and matching, a column for each set of data, means in %.

    Of evaluations only those classes count that every method of the column was run on.
    """
    cells: dict[tuple[str, str], dict[str, str]] = defaultdict(lambda: dict.fromkeys([*FOLDERS, *EVALUATED], "–"))
    for data in FOLDERS:
        found = defaultdict(list)
        for path in folder.glob(f"{data}_*.json"):
            result = json.loads(path.read_text())
            if path.stem == f"{data}_{result['method']}_{result['seed']}":
                for row in result["rows"]:
                    found[result["method"], row["matching"]].append([row["auroc"], row["flagged"], row["caught"]])
        for name, rows in found.items():
            cells[name][data] = " / ".join(f"{sum(column) / len(column):.1f}" for column in zip(*rows, strict=True))
    for data in EVALUATED:
        found = defaultdict(dict)
        for path in sorted((folder / data).glob("*.json")):
            for row in json.loads(path.read_text())["rows"]:
                shifted = row["auroc"]["ood"].values()
                pair = 100 * row["auroc"]["id"], 100 * sum(shifted) / len(shifted)
                found[row["method"], row["matching"]["kind"]][row["normal"]] = pair
        shared = set.intersection(*map(set, found.values())) if found else set()
        for name, rows in found.items():
            means = (sum(rows[normal][i] for normal in shared) / len(shared) for i in (0, 1))
            cells[name][data] = " / ".join(f"{mean:.1f}" for mean in means)
    titles = FOLDERS | EVALUATED
    lines = [f"| method | matching | {' | '.join(titles.values())} |", "|---" * (len(titles) + 2) + "|"]
    for (method, matching), row in sorted(cells.items(), key=lambda item: (item[0][0], item[0][1] == "none")):
        lines.append(f"| {method} | {matching} | {' | '.join(row[data] for data in titles)} |")
    return lines


def classes_table(rows: list[dict]) -> list[str]:
    """Lines of a table of evaluations on the same test sets: a row for each class, method and matching, AUROC in %."""
    shifts = list(rows[0]["auroc"]["ood"])
    lines = [f"| class | method | matching | ID | {' | '.join(shifts)} |", "|---" * (len(shifts) + 4) + "|"]
    for row in rows:
        numbers = [row["auroc"]["id"], *(row["auroc"]["ood"][shift] for shift in shifts)]
        cells = [row["normal"], row["method"], row["matching"]["kind"], *(f"{100 * number:.1f}" for number in numbers)]
        lines.append(f"| {' | '.join(cells)} |")
    return lines


def digits_table(rows: dict[str, list[dict]]) -> list[str]:
    """Lines of a table of one digit against the others: a row for each name and matching, a column for each digit.

    A cell is the image AUROC on MNIST / on MNIST-M in %, each the mean over seeds, with the smallest and the largest.
    """
    found = defaultdict(list)
    for name, of_name in rows.items():
        for row in of_name:
            pair = [100 * row["auroc"]["id"], 100 * row["auroc"]["ood"]["mnist_m"]]
            found[name, row["matching"]["kind"], row["normal"]].append(pair)
    digits = sorted({digit for _, _, digit in found})
    several = ["mean"] if len(digits) > 1 else []
    lines = [f"| run | matching | seeds | {' | '.join(digits + several)} |", "|---" * (len(digits + several) + 3) + "|"]
    for name, matching in dict.fromkeys((name, matching) for name, matching, _ in found):
        seeds = sorted({len(found[name, matching, digit]) for digit in digits})
        if len(seeds) > 1 or not seeds[0]:
            raise ValueError(f"{name}, {matching}: got {seeds} seeds of the digits, expected as many of each")
        columns = [list(zip(*found[name, matching, digit])) for digit in digits]
        if several:
            means = [[sum(values) / len(values) for values in pair] for pair in columns]
            columns.append([[sum(values) / len(values)] for values in zip(*means)])
        cells = [" / ".join(cell(values, 2) for values in pair) for pair in columns]
        lines.append(f"| {name} | {matching} | {seeds[0]} | {' | '.join(cells)} |")
    return lines


PANELS = ("auroc", "flagged", "caught")
Curves = dict[str, dict[str, dict[float, float]]]


def read_curves(start: str) -> Curves:
    """Panel to condition to alpha to percent, from the files whose names begin so."""
    curves: Curves = {panel: {} for panel in PANELS}
    paths = sorted(glob.glob(glob.escape(start) + "*.json"))
    if not paths:
        raise ValueError(f"got {start!r}, expected the beginning of the names of .json files")
    for path in paths:
        with open(path) as file:
            result = json.load(file)
        for alpha, condition, values in _of_folders(result) if "alpha" in result else _of_evaluations(result):
            for panel, value in values.items():
                curves[panel].setdefault(condition, {})[alpha] = value
    return curves


def _of_folders(result: dict):
    for row in result["rows"]:
        if row["matching"] != "none":  # the same detector without matching, whatever alpha is
            yield result["alpha"], row["condition"], {panel: row[panel] for panel in PANELS}


def _of_evaluations(result: dict):
    for row in result["rows"]:
        alarms = row["metrics"]["false_alarm_0.05"]
        for name, auroc in ({"id": row["auroc"]["id"]} | row["auroc"]["ood"]).items():
            yield row["matching"]["alpha"] or 0.0, name, {"auroc": 100 * auroc, "flagged": 100 * alarms[name]}
