"""Fits a detector to good images and counts what it decides on test folders, as they are and corrupted.

python experiments/folder_shifts.py --good=PARTS/train/good --condition=id=PARTS/test --condition=dusk=DUSK/test \
    [--corrupt=brightness,contrast,defocus_blur,gaussian_noise --severity=3] [--method=matched_bank] [--seed=0] \
    [--alpha=0.5] [--workdir=RUN] [--out=FILE.json]

A condition is a folder with good/ beside a folder for each kind of defect; the first one is also corrupted, at native
size. The threshold is that of `gnl-jax fit --review 5%`, from calibration images alone.
"""

import json

import numpy as np
from absl import app, flags

from experiments.folder_counts import measured
from gnl_jax import console
from gnl_jax.config import set_method
from gnl_jax.data.folder import corruption
from gnl_jax.data.reading import load_images
from gnl_jax.detection.artifact import use_matching
from gnl_jax.detection.calibrate import provenance
from gnl_jax.detection.fit import fit
from gnl_jax.detection.options import FitOptions, inspection_config
from gnl_jax.files import write_atomic
from gnl_jax.report.shift_files import own_files

GOOD = flags.DEFINE_string("good", None, "Folder of good images; some of them calibrate.")
CONDITION = flags.DEFINE_multi_string("condition", None, "NAME=FOLDER, may be repeated.")
CORRUPT = flags.DEFINE_list("corrupt", [], "Corruptions of the first condition, comma-separated.")
SEVERITY = flags.DEFINE_integer("severity", 3, "Of the corruptions, 1 to 5.")
GROUP_BY = flags.DEFINE_string("group_by", "", "Which images show the same part, as for `gnl-jax fit`.")
METHOD = flags.DEFINE_string("method", "matched_bank", "As for `gnl-jax fit`.")
SIZE = flags.DEFINE_integer("size", 256, "Side in pixels of the images that the networks see.")
SEED = flags.DEFINE_integer("seed", 0, "Of the division into bank and calibration.")
ALPHA = flags.DEFINE_float("alpha", None, "Weight of the good images' style in matching; the method's own otherwise.")
WORKDIR = flags.DEFINE_string("workdir", None, "Training is kept there; another --alpha then trains no more.")
OUT = flags.DEFINE_string("out", None, "Also write settings and results to this JSON file.")


def run():
    config = set_method(inspection_config(), METHOD.value, like="mvtec")
    config.seed, config.dataset.size = SEED.value, SIZE.value
    if ALPHA.value is not None:
        config.eval.alpha = ALPHA.value
    options = FitOptions(review="5%", group_by=GROUP_BY.value)
    detector = fit(GOOD.value, config, options=options, workdir=WORKDIR.value, say=print)
    print("| matching | condition | AUROC | good parts flagged, % | defects caught, % |\n|---|---|---|---|---|")
    conditions = [(name, folder, None) for name, _, folder in (text.partition("=") for text in CONDITION.value)]
    conditions += [(name, conditions[0][1], name) for name in CORRUPT.value]
    rows: list[dict] = []
    for name, folder, family in conditions:
        files = own_files(folder, group_by=GROUP_BY.value)
        change = family and corruption(family, severity=SEVERITY.value, seed=SEED.value)
        read = load_images(files.paths, config.dataset.size, names=files.names, transform=change, what=name)
        bad, parts = np.array([bool(kind) for kind in files.defects]), np.array(files.parts)
        for kind in detector.record.matchings:
            rows.append(measured(use_matching(detector, kind), name, read.images, bad, parts))
            shown = (f"{rows[-1][key]:.1f}" for key in ("auroc", "flagged", "caught"))
            print(f"| {kind} | {name} | {' | '.join(shown)} |", flush=True)
            if OUT.value:
                settings = {"method": METHOD.value, "seed": SEED.value, "size": SIZE.value, "severity": SEVERITY.value}
                settings |= {} if ALPHA.value is None else {"alpha": ALPHA.value}
                write_atomic(OUT.value, json.dumps(settings | {"made": provenance(), "rows": rows}, indent=1) + "\n")


if __name__ == "__main__":
    flags.mark_flags_as_required(["good", "condition"])
    app.run(lambda argv: console.run(run), flags_parser=console.parse_flags)
