"""Tests run folders under every shift of their configuration; needs nothing but the folders (and the test images).

python experiments/evaluate.py --workdir=runs/digits/rd4ad,runs/digits/gnl --out=runs/digits [--config.eval.alpha=0.9]
python experiments/evaluate.py --workdir=RUN --out=RUN/alphas --alphas=0,0.25,0.5,0.75,1
python experiments/evaluate.py --workdir=RUN --out=RUN/contrast --config.dataset.shifts="('contrast:1','contrast:5')"

Writes results.json, scores.npz, scores.png and gallery.png (of the last evaluation) to --out, by default the first
folder. Of the group `dataset` what says which images are tested may differ from the training: those need an --out.
"""

import functools
from pathlib import Path

from absl import app, flags
from ml_collections import ConfigDict, config_flags

from gnl_jax import console
from gnl_jax.config import default_config
from gnl_jax.config_io import load_config
from gnl_jax.evaluation.collect import write_evaluations
from gnl_jax.evaluation.evaluate import evaluate
from gnl_jax.evaluation.plots import plot_gallery, plot_scores
from gnl_jax.evaluation.restore import TEST_FIELDS
from gnl_jax.evaluation.summary import print_results, row_labels

WORKDIR = flags.DEFINE_list("workdir", None, "Folders of trained runs, comma-separated.")
OUT = flags.DEFINE_string("out", None, "Where results and pictures go; default: the first folder.")
ALPHAS = flags.DEFINE_list("alphas", None, "Evaluate matching with each of these instead of eval.alpha.")


def define_config():
    config = default_config()
    fields = ConfigDict({"eval": config.eval, "dataset": {field: config.dataset[field] for field in TEST_FIELDS}})
    config_flags.DEFINE_config_dict("config", fields, "Other eval settings, other test sets.")


def run():
    overrides = config_flags.get_override_values(flags.FLAGS["config"])
    alphas = ALPHAS.value and [float(alpha) for alpha in ALPHAS.value]
    others = sorted(field for field in overrides if field.startswith("dataset.")) + ["alphas"] * bool(alphas)
    if others and not OUT.value:
        raise ValueError(f"out: missing, expected a folder for results with other {', '.join(others)}")
    evaluations = []
    for workdir in WORKDIR.value:
        config = load_config(workdir)
        config.update_from_flattened_dict(overrides)
        evaluations += evaluate(workdir, config=config, alphas=alphas)
    out, rows = Path(OUT.value or WORKDIR.value[0]), [e.row for e in evaluations]
    write_evaluations(out, evaluations)
    labels = row_labels(rows)
    plot_scores(out / "scores.png", {label: e.tests for label, e in zip(labels, evaluations)})
    pictures = "scores.png"
    if evaluations[-1].gallery:
        plot_gallery(out / "gallery.png", evaluations[-1].gallery, columns=4)
        pictures += f" and gallery.png ({labels[-1]})"
    print_results(rows)
    print(f"wrote {out}/results.json, scores.npz, {pictures}")


if __name__ == "__main__":
    flags.mark_flag_as_required("workdir")
    app.run(lambda argv: console.run(run), flags_parser=functools.partial(console.parse_flags, define=define_config))
