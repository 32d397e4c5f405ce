"""Counts what is found of each kind of defect with windows and without, at the same rate of false alarms.

python experiments/windows.py --parts=PARTS [--detector=256 --detector=256:256] [--matching=efdm] [--train=0] \
    [--calibration=9 --review=10%] [--limit=0] [--roi=X,Y,W,H] [--seed=0]

PARTS has train/good, and test/ with good and a folder for each kind of defect. A detector is SIZE, or SIZE:WINDOW for
windows of that many pixels. Thresholds come from calibration images of whole parts, as with `gnl-jax fit --review`.
"""

import os
import time

import numpy as np
from absl import app, flags

from gnl_jax import console
from gnl_jax.detection.fit import fit
from gnl_jax.detection.options import FitOptions, inspection_config
from gnl_jax.detection.region import Region, parse_roi
from gnl_jax.detection.threshold import OK
from gnl_jax.evaluation.metrics import auroc
from gnl_jax.methods.build import build_method
from gnl_jax.report.shift_files import own_files

PARTS = flags.DEFINE_string("parts", None, "Folder with train and test.")
DETECTOR = flags.DEFINE_multi_string("detector", ["256", "256:256"], "SIZE or SIZE:WINDOW; may be repeated.")
MATCHING = flags.DEFINE_list("matching", ["efdm"], "Of efdm and none (alpha 0), each a detector of its own.")
TRAIN = flags.DEFINE_integer("train", 0, "Good parts to learn from and calibrate with, the first ones; 0 for all.")
CALIBRATION = flags.DEFINE_integer("calibration", 9, "Of these, parts that calibrate.")
REVIEW = flags.DEFINE_string("review", "10%", "Rate of false alarms.")
LIMIT = flags.DEFINE_integer("limit", 0, "Parts of each kind that are tested, evenly spaced; 0 for all.")
ROI = flags.DEFINE_string("roi", "", "Inspect this rectangle alone.")
SEED = flags.DEFINE_integer("seed", 0, "Of the division into bank and calibration.")


def run():
    good, tests = os.path.join(PARTS.value, "train", "good"), own_files(os.path.join(PARTS.value, "test"))
    kinds = {kind: np.flatnonzero(np.array(tests.defects) == kind) for kind in sorted(set(tests.defects))}
    most = {kind: min(LIMIT.value or len(rows), len(rows)) for kind, rows in kinds.items()}
    kinds = {kind: rows[np.arange(most[kind]) * len(rows) // most[kind]] for kind, rows in kinds.items()}
    region = Region(parse_roi(ROI.value)) if ROI.value else None
    print("| detector | matching | minutes to fit | seconds an image | parts | flagged | AUROC |\n|" + 7 * "---|")
    for text in DETECTOR.value:
        side, _, window = text.partition(":")
        for matching in MATCHING.value:
            config, begun = inspection_config(), time.monotonic()
            config.dataset.size, config.seed = int(side), SEED.value
            left_out = sorted(os.listdir(good))[TRAIN.value :] if TRAIN.value else ()
            rates = {"review": REVIEW.value, "calibration": CALIBRATION.value, "exclude": left_out}
            options = FitOptions(**rates, region=region, window_size=int(window or 0))
            detector = fit(good, config, options=options, method=build_method(config, matching=matching))
            scores, minutes = {}, (time.monotonic() - begun) / 60
            for kind, rows in kinds.items():
                begun = time.monotonic()
                said = list(detector.inspect([tests.paths[i] for i in rows]))
                took, scores[kind] = (time.monotonic() - begun) / len(rows), np.array([one.score for one in said])
                flagged, both = sum(one.decision != OK for one in said), np.concatenate([scores[""], scores[kind]])
                area = f"{100 * auroc(both, np.arange(len(both)) >= len(scores[''])):.0f}" if kind else ""
                how = detector.grid.describe() if detector.grid else f"whole, seen at {side}x{side}"
                row = (how, matching, f"{minutes:.1f}", f"{took:.1f}", kind or "good", f"{flagged}/{len(rows)}", area)
                print("| " + " | ".join(row) + " |", flush=True)


if __name__ == "__main__":
    flags.mark_flag_as_required("parts")
    app.run(lambda argv: console.run(run), flags_parser=console.parse_flags)
