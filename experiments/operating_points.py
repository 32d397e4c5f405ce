"""Defects caught at false-alarm rates of 1, 5 and 10 %, and whether redrawn calibrations keep the guaranteed rate.

python experiments/operating_points.py --detectors=part.gnl,other.gnl --root=PARTS [--group_by=REGEX] [--out=FILE.json]

--root: a folder with test/good/ and test/KIND_OF_DEFECT/ as in MVTec AD, with masks or without, or as configs/folder.py
says. The thresholds of the rates are those of all good parts that a detector was not fitted to, its calibration and the
test together; its own decisions do not depend on them. Calibration and test parts are then mixed and divided again,
--draws times: the mean fraction of good parts flagged is compared with the target.
"""

import json
import os

from absl import app, flags

from gnl_jax import console
from gnl_jax.data.folder import load_test
from gnl_jax.data.layouts import find_layout
from gnl_jax.data.load import folder_options
from gnl_jax.detection.artifact import load
from gnl_jax.detection.grouping import part_names
from gnl_jax.evaluation.operating_points import operating_points
from gnl_jax.files import write_atomic

DETECTORS = flags.DEFINE_list("detectors", None, "Files that `gnl-jax fit` made, comma-separated.")
ROOT = flags.DEFINE_string("root", None, "Folder of the test images.")
GROUP_BY = flags.DEFINE_string("group_by", "", "Which images show the same part, as for `gnl-jax fit`.")
DRAWS = flags.DEFINE_integer("draws", 20, "Divisions into calibration and test.", lower_bound=2)
OUT = flags.DEFINE_string("out", None, "Also write everything to this JSON file.")


def measure(path: str) -> dict:
    detector = load(path)
    dataset = detector.require_record().config.dataset.copy_and_resolve_references()
    dataset.root, dataset.shifts = ROOT.value, ()
    files = find_layout(ROOT.value).test
    test = load_test(files, folder_options(dataset, seed=0), what="test")
    defect = dict(zip(files.names, files.defects))
    parts = part_names(test.names, GROUP_BY.value, root=ROOT.value)
    return operating_points(
        detector, test, defects=[defect[name] for name in test.names], parts=parts, draws=DRAWS.value
    )


def run():
    results = {path: measure(path) for path in DETECTORS.value}
    for path, by_matching in results.items():
        for matching, found in by_matching.items():
            pixel = "".join(f", pixel {name} {value:.4f}" for name, value in found["pixel"].items())
            print(f"\n{os.path.basename(path)}, matching {matching}: image AUROC {found['auroc']:.4f}{pixel}\n")
            kinds = [kind for kind in found["parts"] if kind != "good"]
            print("| false alarms | " + " | ".join(f"{kind} (of {found['parts'][kind]})" for kind in kinds) + " |")
            print("|---" * (len(kinds) + 1) + "|")
            for row in found["detection"]:
                print(f"| {row['rate']:.0%} | " + " | ".join(str(row["stopped"][kind]) for kind in kinds) + " |")
            drawn = found["redraws"]
            print(f"\ngood parts flagged, mean of {len(drawn['draws'])} draws: {drawn['mean']:.4f}, target ", end="")
            print(f"{drawn['promised']:.4f}: {drawn['deviations']:+.2f} standard deviations of such a mean")
    if OUT.value:
        write_atomic(OUT.value, json.dumps(results, indent=2) + "\n")


if __name__ == "__main__":
    flags.mark_flags_as_required(["detectors", "root"])
    app.run(lambda argv: console.run(run), flags_parser=console.parse_flags)
