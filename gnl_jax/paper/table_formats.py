"""Tables as Markdown, LaTeX and CSV."""

import csv
import io
from collections.abc import Callable
from typing import Any

from gnl_jax.paper.published import MEAN
from gnl_jax.paper.tables import Table, TableCell

TITLES = {
    "id": "ID",
    "mnist_m": "MNIST-M",
    "art_painting": "Art",
    "defocus_blur": "Blur",
    "gaussian_noise": "Noise",
    "training": "Training (s per epoch)",
    "inference": "Inference (s per image)",
}
NORMALS = {MEAN: "One-vs-all", "even": "Even/odd"}
WIDEST = 6  # columns; wider tables get a block of lines for each class


def title(name: str) -> str:
    """A test set or class in words: "defocus_blur" -> "Blur"."""
    return TITLES.get(name) or name.replace("_", " ").capitalize()


def measured_words(cell: TableCell, table: Table) -> str:
    """Our number as "97.10 ± 0.20", with the number of classes where some are missing; "–" if there is none."""
    mean = cell.measured
    if mean is None:
        return "–"
    words = f"{table.scale * mean.value:.{table.decimals}f}"
    if mean.deviation is not None:
        words += f" ± {table.scale * mean.deviation:.{table.decimals}f}"
    if len(mean.classes) < cell.of_classes:
        words += f", {len(mean.classes)} of {cell.of_classes} classes"
    return words


def grid(table: Table) -> tuple[list[str], list[list[list[str]]], list[str]]:
    """Header, blocks of lines, and numbered notes; a cell reads "ours (the paper's) [note]", or ours alone."""
    columns, labels = table.paper.columns, table.labels
    normals = list(dict.fromkeys(normal for normal, _ in columns))
    if len(columns) <= WIDEST:
        groups = [("", columns)]
        several = len(normals) > 1
        names = [f"{NORMALS.get(normal, normal)} {title(test)}" if several else title(test) for normal, test in columns]
    else:
        groups = [(normal, tuple(column for column in columns if column[0] == normal)) for normal in normals]
        names = [title(test) for _, test in groups[0][1]]
    notes = list(dict.fromkeys(note for cell in table.cells.values() if cell.paper for note in cell.paper.notes))

    def words(cell: TableCell) -> str:
        if cell.paper is None:
            return measured_words(cell, table)
        marks = "".join(f" [{notes.index(note) + 1}]" for note in cell.paper.notes)
        return f"{measured_words(cell, table)} ({cell.paper.printed}){marks}"

    blocks = [
        [
            [*([normal.replace("_", " ")] if normal else []), label, *(words(table.cells[name, *key]) for key in keys)]
            for name, label in labels.items()
        ]
        for normal, keys in groups
    ]
    header = [*(["Class"] if groups[0][0] else []), "Method", *names]
    return header, blocks, [f"[{number}] {note}" for number, note in enumerate(notes, start=1)]


def to_markdown(table: Table) -> str:
    """Ours (± standard deviation over seeds), the paper's in parentheses, notes beneath."""
    header, blocks, notes = grid(table)
    lines = [f"**Table {table.paper.number}**, ours (the paper's): {table.paper.caption}", ""]
    lines += ["| " + " | ".join(header) + " |", "|" + "---|" * len(header)]
    lines += ["| " + " | ".join(line) + " |" for block in blocks for line in block]
    return "\n\n".join(["\n".join(lines), *table.notes, *notes]) + "\n"


def to_latex(table: Table) -> str:
    """A `table` for the package booktabs."""
    header, blocks, notes = grid(table)
    words = {"&": r"\&", "%": r"\%", "_": r"\_", "#": r"\#", "±": r"$\pm$", "–": "--", "λ": r"$\lambda$"}

    def line(cells: list[str]) -> str:
        return " & ".join(map(escape, cells)) + r" \\"

    def escape(text: str) -> str:
        return "".join(words.get(character, character) for character in text)

    body = "\n\\midrule\n".join("\n".join(map(line, block)) for block in blocks)
    text = " ".join([f"Ours (the paper's Table {table.paper.number}): {table.paper.caption}", *table.notes, *notes])
    return (
        "\\begin{table}\n\\centering\n"
        f"\\begin{{tabular}}{{{'l' * len(header)}}}\n\\toprule\n{line(header)}\n\\midrule\n{body}\n\\bottomrule\n"
        f"\\end{{tabular}}\n\\caption{{{escape(text)}}}\n\\end{{table}}\n"
    )


def to_csv(table: Table) -> str:
    """One line for each number, in the paper's unit and not rounded; an empty field where there is none."""
    text = io.StringIO()
    lines = [_csv_fields(table, *key) for key in table.cells]
    writer = csv.DictWriter(text, fieldnames=lines[0], lineterminator="\n")
    writer.writeheader()
    writer.writerows(lines)
    return text.getvalue()


def _csv_fields(table: Table, name: str, normal: str, test: str) -> dict[str, Any]:
    cell = table.cells[name, normal, test]
    mean, scale = cell.measured, table.scale
    return {
        "table": table.paper.number,
        "method": name,
        "label": table.labels[name],
        "class": normal,
        "test": test,
        "mean": scale * mean.value if mean else "",
        "deviation": scale * mean.deviation if mean and mean.deviation is not None else "",
        "seeds": len(mean.seeds) if mean else 0,
        "classes": len(mean.classes) if mean else 0,
        "of_classes": cell.of_classes,
        "paper": cell.paper.printed if cell.paper else "",
        "paper_note": " ".join(cell.paper.notes) if cell.paper else "",
    }


FORMATS: dict[str, Callable[[Table], str]] = {"markdown": to_markdown, "csv": to_csv, "latex": to_latex}
