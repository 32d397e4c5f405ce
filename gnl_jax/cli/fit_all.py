"""Make one detector for each product: every subfolder of a folder is a product.

A product's good images are in train/good/ (as in MVTec AD), in good/, or in the subfolder itself. Run it
again to resume: finished detectors stay, an interrupted training continues, failed products are tried again. The
options are those of `gnl-jax fit`, for every product. DIR/summary.json and a table have images, rates and time of each.
"""

import argparse
import json
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from gnl_jax.cli import fit
from gnl_jax.cli.arguments import DONE, FAILED, UNREADABLE, UsageError
from gnl_jax.cli.failures import in_one_sentence
from gnl_jax.files import write_atomic
from gnl_jax.text import printable

COLUMNS = ("product", "state", "learns", "calibrates", "ng", "review", "minutes", "look at")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of `gnl-jax fit-all`: those of `fit`, for a folder of products."""
    fit.add_arguments(parser, good="root", good_help="folder with a subfolder for each product", out="DIR")


def run(args: argparse.Namespace) -> int:
    """Fits the products that have no finished detector; writes the summary and prints a table."""
    products, out = find_products(Path(args.root)), Path(args.out)
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(f"--out: {out} cannot be created: {error.strerror}") from error
    page, rows = out / "summary.json", {}
    if page.exists():
        rows = {row["product"]: row for row in json.loads(page.read_text())["products"]}
    for number, (name, good) in enumerate(products.items(), start=1):
        file = out / f"{name}.gnl"
        if file.exists() and rows.get(name, {}).get("state") in ("done", "some unreadable"):
            continue
        print(printable(f"{number} of {len(products)}: {name}"), file=sys.stderr)
        rows[name] = fit_one(args, name, good, file, before=rows.get(name, {}).get("minutes") or 0.0)
        write_atomic(page, summary([rows[key] for key in products if key in rows]))
    shown = [rows[name] for name in products]
    write_atomic(page, summary(shown))
    print(table(shown))
    states = {row["state"] for row in shown}
    return FAILED if "failed" in states else UNREADABLE if "some unreadable" in states else DONE


def find_products(root: Path) -> dict[str, str]:
    """Name and folder of good images of each product. Raises UsageError where there is none, or root is one itself."""
    if not root.is_dir():
        raise UsageError(f"{os.fspath(root)!r}: no such folder")
    if (root / "train" / "good").is_dir() or (root / "good").is_dir():
        raise UsageError(f"{os.fspath(root)!r}: got the folder of one product, expected one of several products")
    folders = sorted(entry for entry in root.iterdir() if entry.is_dir() and not entry.name.startswith("."))
    if not folders:
        raise UsageError(f"{os.fspath(root)!r}: no subfolders, expected one for each product")
    products = {}
    for folder in folders:
        inside = [folder / "train" / "good", folder / "good", folder]
        products[folder.name] = os.fspath(next(path for path in inside if path.is_dir()))
    return products


def fit_one(args: argparse.Namespace, name: str, good: str, file: Path, *, before: float) -> dict[str, Any]:
    """The row of a product; what cannot be fitted is said in it, and the next one's turn comes.

    before: minutes that earlier attempts took.
    """
    from gnl_jax.detection.container import read_container
    from gnl_jax.detection.record import read_rule

    row: dict[str, Any] = dict.fromkeys(COLUMNS) | {"product": name, "folder": good}
    begun = time.monotonic()
    try:
        words = ["fit", good, "--out", str(file), *own_options(args.words, args.root)]
        product = argparse.Namespace(**{**vars(args), "good": good, "out": str(file), "words": words})
        status = in_one_sentence(lambda: fit.run(product))
    except (ValueError, OSError) as error:
        print("error: " + printable(str(error), keep="\n"), file=sys.stderr)
        row |= {"state": "failed", "look at": str(error).splitlines()[0]}
    else:
        manifest = read_container(file).manifest
        rules = {kind: read_rule(manifest["rules"][kind]) for kind in ("ng", "review")}
        row |= {kind: rule.describe() if rule else "never" for kind, rule in rules.items()}
        row |= {
            "state": "done" if status == DONE else "some unreadable",
            "learns": len(manifest["data"]["fit"]),
            "calibrates": len(manifest["data"]["calibration"]),
            "look at": f"{file.name}.fit.html",
        }
    return row | {"minutes": round(before + (time.monotonic() - begun) / 60, 2)}


def own_options(words: Sequence[str], root: str) -> list[str]:
    """The options among the words of a `fit-all`, without its folders."""
    left, kept = iter(words[1:]), []
    for word in left:
        flag, equals, _ = word.partition("=")
        if len(flag) > 2 and "--out".startswith(flag):
            if not equals:
                next(left, None)
        elif word != root:
            kept.append(word)
    return kept


def summary(rows: list[dict[str, Any]]) -> str:
    """The rows as JSON."""
    return json.dumps({"schema": 1, "products": rows}, indent=2) + "\n"


def table(rows: list[dict[str, Any]]) -> str:
    """The rows in columns, what failed first; each names what to look at first."""
    ordered = sorted(rows, key=lambda row: ("failed", "some unreadable", "done").index(row["state"]))
    cells = [COLUMNS, *([printable("" if row[c] is None else str(row[c])) for c in COLUMNS] for row in ordered)]
    widths = [max(len(line[i]) for line in cells) for i in range(len(COLUMNS))]
    return "\n".join("  ".join(cell.ljust(width) for cell, width in zip(line, widths)).rstrip() for line in cells)
