"""Makes the tables of docs/results.md that compare detectors on folders, from the JSON files of `folder_shifts.py`.

python experiments/result_tables.py [--check] [docs/results]

A file of docs/results/ is one fit: DATA_METHOD_SEED.json. A cell is the mean over seeds of the division, with the
smallest and the largest where there are several. With --check nothing is printed unless the page lacks a table.
"""

import sys
from pathlib import Path

from absl import app, flags

from experiments.result_rows import tables

ROOT = Path(__file__).parent.parent
PAGE = ROOT / "docs/results.md"
CHECK = flags.DEFINE_bool("check", False, "Only see whether docs/results.md has these tables.")


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
