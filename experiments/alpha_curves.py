"""Draws what matching costs and brings: AUROC, false alarms and defects caught against alpha.

python experiments/alpha_curves.py --out=alpha.png "tiles=docs/results/alpha/tiles" "digit 7=docs/results/alpha/rd4ad"

Each row is TITLE=START: JSON files whose names begin so, of `folder_shifts.py --alpha`, or results.json of `evaluate.py
--alphas`, which know no threshold of a calibration: their false alarms are at 5 % of the unshifted good test images.
"""

import glob
import json

from absl import app, flags

from gnl_jax import console
from gnl_jax.evaluation.charts import LINES
from gnl_jax.evaluation.plots import picture

OUT = flags.DEFINE_string("out", None, "The picture.")
PANELS = {"auroc": "AUROC (%)", "flagged": "good flagged (%)", "caught": "defects caught (%)"}
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
        for alpha, condition, values in of_folders(result) if "alpha" in result else of_evaluations(result):
            for panel, value in values.items():
                curves[panel].setdefault(condition, {})[alpha] = value
    return curves


def of_folders(result: dict):
    for row in result["rows"]:
        yield result["alpha"], row["condition"], {panel: row[panel] for panel in PANELS}


def of_evaluations(result: dict):
    for row in result["rows"]:
        alarms = row["metrics"]["false_alarm_0.05"]
        for name, auroc in ({"id": row["auroc"]["id"]} | row["auroc"]["ood"]).items():
            yield row["matching"]["alpha"] or 0.0, name, {"auroc": 100 * auroc, "flagged": 100 * alarms[name]}


def run(arguments: list[str]):
    rows = [(title, read_curves(start)) for title, _, start in (text.partition("=") for text in arguments)]
    with picture(OUT.value, width=7.2, height=2.1 * len(rows)) as figure:
        for axes, (title, curves) in zip(figure.subplots(len(rows), len(PANELS), squeeze=False), rows):
            for ax, (panel, label) in zip(axes, PANELS.items()):
                for (condition, points), (colour, marker, style) in zip(curves[panel].items(), LINES):
                    x, y = zip(*sorted(points.items()))
                    ax.plot(x, y, style, color=colour, marker=marker, markersize=3, linewidth=1.1, label=condition)
                ax.set_ylabel(label)
                ax.set_xlabel("α")
                ax.grid(axis="y", color="0.9", linewidth=0.6)
                ax.set_visible(bool(curves[panel]))
            axes[0].set_title(title, loc="left")
            axes[0].legend(frameon=False, fontsize=6)


if __name__ == "__main__":
    flags.mark_flags_as_required(["out"])
    app.run(lambda argv: console.run(lambda: run(argv[1:])), flags_parser=console.parse_flags)
