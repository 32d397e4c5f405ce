"""Draws what matching costs and brings: AUROC, false alarms and defects caught against alpha.

python experiments/alpha_curves.py --out=alpha.png "tiles=docs/results/alpha/tiles" "digit 7=docs/results/alpha/rd4ad"

Each row is TITLE=START: JSON files whose names begin so, of `folder_shifts.py --alpha`, or results.json of `evaluate.py
--alphas`, which know no threshold of a calibration: their false alarms are at 5 % of the unshifted good test images.
"""

from absl import app, flags

from experiments.result_rows import read_curves
from gnl_jax import console
from gnl_jax.evaluation.charts import LINES
from gnl_jax.evaluation.plots import picture

OUT = flags.DEFINE_string("out", None, "The picture.")
PANELS = {"auroc": "AUROC (%)", "flagged": "good flagged (%)", "caught": "defects caught (%)"}


def run(arguments: list[str]):
    rows = [(title, read_curves(start)) for title, _, start in (text.partition("=") for text in arguments)]
    with picture(OUT.value, width=7.2, height=2.1 * len(rows)) as figure:
        for axes, (title, curves) in zip(figure.subplots(len(rows), len(PANELS), squeeze=False), rows):
            for ax, (panel, label) in zip(axes, PANELS.items()):
                for (condition, points), (colour, marker, style) in zip(curves[panel].items(), LINES):
                    x, y = zip(*sorted(points.items()))
                    ax.plot(x, y, style, color=colour, marker=marker, markersize=3, linewidth=1.1, label=condition)
                if panel == "flagged":
                    ax.set_ylim(bottom=0, top=max(1, ax.get_ylim()[1]))
                ax.set_ylabel(label)
                ax.set_xlabel("α")
                ax.grid(axis="y", color="0.9", linewidth=0.6)
                if not curves[panel]:  # an evaluation knows no threshold, so nothing is caught
                    ax.set_axis_off()
            axes[0].set_title(title, loc="left")
            axes[-1].legend(
                *axes[0].get_legend_handles_labels(), loc="center left", bbox_to_anchor=(1, 0.5), frameon=False
            )


if __name__ == "__main__":
    flags.mark_flags_as_required(["out"])
    app.run(lambda argv: console.run(lambda: run(argv[1:])), flags_parser=console.parse_flags)
