"""Draws a figure of the paper from results: 2 and 6 (scores), 4 (severity of a shift), 5 (alpha).

python experiments/figures.py --figure=4 --results=runs/mvtec --out=figure4.pdf
python experiments/figures.py --figure=2 --results=runs --out=figure2.png --tasks=mnist/3 --methods=rd4ad,gnl

--results: folders, searched for results.json (and scores.npz beside it, for 2 and 6), or files. Default are the paper's
datasets, classes and methods. Where something is missing, the message names it and the command that makes it.
"""

from absl import app, flags

from gnl_jax import console
from gnl_jax.paper.figures import CHOICES, draw_figure, parse_task

FIGURE = flags.DEFINE_integer("figure", None, f"One of {', '.join(map(str, CHOICES))}.")
RESULTS = flags.DEFINE_list("results", None, "Folders and results.json files, comma-separated.")
OUT = flags.DEFINE_string("out", None, "The picture: .png, .pdf or .svg.")
TASKS = flags.DEFINE_list("tasks", None, "DATASET/CLASS, comma-separated; for 4 and 5 DATASET alone means all classes.")
METHODS = flags.DEFINE_list("methods", None, "Lines or rows of the figure, such as rd4ad,atta,dinl,gnl.")
SHIFT = flags.DEFINE_string("shift", "contrast", "Figure 4: the shift whose severities are compared.")
ANCHOR = flags.DEFINE_string("anchor", None, "Use results with this anchor of matching, where there are several.")


def run():
    changes = {"shift": SHIFT.value, "anchor": ANCHOR.value}
    if TASKS.value:
        changes["tasks"] = tuple(map(parse_task, TASKS.value))
    if METHODS.value:
        changes["methods"] = tuple(METHODS.value)
    draw_figure(FIGURE.value, OUT.value, RESULTS.value, **changes)
    print(f"wrote {OUT.value}")


if __name__ == "__main__":
    flags.mark_flags_as_required(["figure", "results", "out"])
    app.run(lambda argv: console.run(run), flags_parser=console.parse_flags)
