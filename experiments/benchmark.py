"""Trains and tests a grid of methods, normal classes and seeds; the same command goes on where it was interrupted.

python experiments/benchmark.py --config=configs/benchmark.py:digits --out=runs/benchmark [--config.seeds="(0,)" ...]

Each run has a folder of its own below --out, as experiments/train.py would leave it. results.json in --out holds all
rows so far; on a terminal they are a table that grows. A run that fails is reported and the rest go on; the exit status
is then 1.
"""

import runpy
import sys
from pathlib import Path

from absl import app, flags
from ml_collections import ConfigDict, config_flags

from gnl_jax import console
from gnl_jax.evaluation.results import read_results, write_results
from gnl_jax.evaluation.summary import print_results
from gnl_jax.paper.benchmark import run_benchmark

CONFIG = config_flags.DEFINE_config_file("config", None, "Grid, FILE.py[:ARGUMENT].", lock_config=True)
OUT = flags.DEFINE_string("out", None, "Folder of the grid; an unfinished grid in it is continued.")
CLEAR = "\x1b[H\x1b[2J"
CONFIGS = Path(__file__).parent.parent / "configs"


def load(data: str, normal: str, method: str) -> ConfigDict:
    path = CONFIGS / f"{data}.py"
    if not path.exists():
        raise ValueError(f"data: no configuration {path}")
    return runpy.run_path(str(path))["get_config"](f"{normal},{method}")


def run():
    out = Path(OUT.value)

    live = sys.stdout.isatty()

    def report(rows):
        write_results(out / "results.json", rows)
        if live:  # the table stays at the top of the screen, the run's progress below it
            sys.stdout.write(CLEAR)
            print_results(rows)

    failures = run_benchmark(CONFIG.value, out, load=load, report=report)
    if not live and (out / "results.json").exists():
        print_results(read_results(out / "results.json"))
    if failures:
        raise ValueError("; ".join(f"{failure.cell}: {failure.reason}" for failure in failures))
    print(f"wrote {out}/results.json")


def main(argv):
    if len(argv) > 1:
        raise app.UsageError(f"unexpected arguments: {' '.join(argv[1:])}")
    console.run(run)


if __name__ == "__main__":
    flags.mark_flags_as_required(["config", "out"])
    app.run(main, flags_parser=console.parse_flags)
