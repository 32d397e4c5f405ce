"""Measures training and scoring on whatever device is here, as shares of its matrix-product and memory rates.

python experiments/speed/measure.py [--cases=resnet18/32/16,...] [--precision=float32,bfloat16]
    [--features=computed,cached] [--score_batch=64] [--out=FILE.json]

Each case runs in its own process, so that its peak memory is its own; this one leaves the device alone. All rates are
of the same run. Below the table: where the time of a training step and of scoring with EFDM goes, by named scope.
"""

import itertools
import json
import os
import subprocess
import sys
from pathlib import Path

import jax
from absl import app, flags

from experiments.speed.speed_table import HEADER, markdown_row, speed_row, speed_scopes
from experiments.speed.timing import CASES, Case, time_case
from gnl_jax import console

CASE_NAMES = ["/".join(map(str, case)) for case in CASES]
WHICH = flags.DEFINE_list("cases", CASE_NAMES, "ARCHITECTURE/SIZE/BATCH, comma-separated.")
PRECISION = flags.DEFINE_list("precision", ["float32"], "float32, tf32 and bfloat16, comma-separated.")
FEATURES = flags.DEFINE_list("features", ["computed"], "Teacher's features of fixed views: computed and cached.")
SCORE_BATCH = flags.DEFINE_integer("score_batch", 0, "Images scored at once; 0: as many as trained on.", lower_bound=0)
OUT = flags.DEFINE_string("out", None, "Also write the measurements to this JSON file.")
ONE = flags.DEFINE_bool("one", False, "Measure the single case given in this process and print JSON.")


def measure(name: str, precision: str, features: str) -> dict:
    command = [sys.executable, __file__, "--one", f"--cases={name}", f"--precision={precision}"]
    command += [f"--features={features}", f"--score_batch={SCORE_BATCH.value}"]
    env = os.environ | {"JAX_COMPILATION_CACHE_DIR": ""}  # compiling is measured, too
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, env=env)
    asked = {"case": name, "precision": precision, "features": features, "score_batch": SCORE_BATCH.value}
    return asked | json.loads(done.stdout.splitlines()[-1])


def run():
    cases, cached = [Case.parse(name) for name in WHICH.value], FEATURES.value[0] == "cached"
    if ONE.value:
        timing = time_case(cases[0], precision=PRECISION.value[0], cached=cached, score_batch=SCORE_BATCH.value or None)
        print(json.dumps(timing._asdict() | {"device": f"{jax.devices()[0].device_kind}, jax {jax.__version__}"}))
        return
    print(markdown_row(HEADER) + "\n|" + "---|" * len(HEADER))
    results = []
    for key in itertools.product(WHICH.value, PRECISION.value, FEATURES.value):
        results.append(measure(*key))
        print(speed_row(results[-1]), flush=True)
    for t in results:
        print(f"\n{t['case']}, {t['precision']}, features {t['features']}: {speed_scopes(t)}")
    if OUT.value:
        Path(OUT.value).write_text(json.dumps(results, indent=2) + "\n")


if __name__ == "__main__":
    app.run(lambda argv: console.run(run), flags_parser=console.parse_flags)
