"""Tests run folders under every shift of their configuration; needs nothing but the folders (and the test images).

python experiments/evaluate.py --workdir=runs/digits/rd4ad,runs/digits/gnl --out=runs/digits [--config.eval.alpha=0.9]

Writes results.json, scores.png and gallery.png (of the last evaluation) to --out, by default the first folder.
"""

import functools
from pathlib import Path

from absl import app, flags
from ml_collections import ConfigDict, config_flags

from gnl_jax import console
from gnl_jax.config import default_config
from gnl_jax.evaluation.evaluate import evaluate
from gnl_jax.evaluation.plots import plot_gallery, plot_scores
from gnl_jax.evaluation.results import write_results
from gnl_jax.evaluation.summary import print_results
from gnl_jax.training.workdir import load_config

WORKDIR = flags.DEFINE_list("workdir", None, "Folders of trained runs, comma-separated.")
OUT = flags.DEFINE_string("out", None, "Where results and pictures go; default: the first folder.")


def define_config():
    config_flags.DEFINE_config_dict("config", ConfigDict({"eval": default_config().eval}), "Other eval settings.")


def label(row) -> str:
    kind = row["matching"]["kind"]
    return row["method"].upper() + ("" if kind == "none" else f" + {kind} {row['matching']['alpha']:g}")


def run():
    overrides = config_flags.get_override_values(flags.FLAGS["config"])
    evaluations = []
    for workdir in WORKDIR.value:
        config = load_config(workdir)
        config.update_from_flattened_dict(overrides)
        evaluations += evaluate(workdir, config=config)
    out = Path(OUT.value or WORKDIR.value[0])
    out.mkdir(parents=True, exist_ok=True)
    write_results(out / "results.json", [e.row for e in evaluations])
    plot_scores(out / "scores.png", {label(e.row): e.tests for e in evaluations})
    plot_gallery(out / "gallery.png", evaluations[-1].gallery, columns=4)
    print_results([e.row for e in evaluations])
    print(f"wrote {out}/results.json, scores.png and gallery.png ({label(evaluations[-1].row)})")


if __name__ == "__main__":
    flags.mark_flag_as_required("workdir")
    app.run(lambda argv: console.run(run), flags_parser=functools.partial(console.parse_flags, define=define_config))
