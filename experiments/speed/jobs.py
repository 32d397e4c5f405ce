"""Measures how fast several runs train as one program on this device, beside one run alone in the same process.

python experiments/speed/jobs.py --config=configs/digits.py:0,gnl --jobs=2,4
"""

import jax
from absl import app, flags
from ml_collections import config_flags

from experiments.speed.job_timing import time_jobs
from gnl_jax import console

CONFIG = config_flags.DEFINE_config_file("config", None, "Configuration file, FILE.py[:ARGUMENT].", lock_config=True)
JOBS = flags.DEFINE_list("jobs", ["2", "4"], "Numbers of runs in one program, comma-separated.")


def run():
    counts = [int(count) for count in JOBS.value]
    if min(counts, default=0) < 1:
        raise ValueError(f"jobs: got {JOBS.value}, expected one or more numbers from 1 on")
    device = jax.devices()[0].device_kind
    print(f"{CONFIG.value.method.name}, {CONFIG.value.dataset.size} pixels, {device}, jax {jax.__version__}")
    print(
        "| runs in one program | seconds of a step | steps of a run per second | against one alone |\n|---|---|---|---|"
    )
    timings = time_jobs(CONFIG.value, counts)
    _, alone = next(timings)
    print(f"| one alone | {alone:.4f} | {1 / alone:.1f} | 1.00 |", flush=True)
    for k, seconds in timings:
        print(f"| {k} | {seconds:.4f} | {k / seconds:.1f} | {k * alone / seconds:.2f} |", flush=True)


if __name__ == "__main__":
    flags.mark_flag_as_required("config")
    app.run(lambda argv: console.run(run), flags_parser=console.parse_flags)
