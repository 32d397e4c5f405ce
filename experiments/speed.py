"""Measures training and scoring on whatever device is here, as shares of its matrix-product rate in the same run.

python experiments/speed.py [--cases=resnet18/32/16,...] [--precision=float32,bfloat16] [--out=FILE.json]

Each case runs in its own process, so that its peak memory is its own; this one leaves the device alone.
"""

import json
import subprocess
import sys
from pathlib import Path

import jax
from absl import app, flags

from gnl_jax.evaluation.timing import CASES, Case, time_case

CASE_NAMES = ["/".join(map(str, case)) for case in CASES]
WHICH = flags.DEFINE_list("cases", CASE_NAMES, "ARCHITECTURE/SIZE/BATCH, comma-separated.")
PRECISION = flags.DEFINE_list("precision", ["float32"], "float32, tf32 and bfloat16, comma-separated.")
OUT = flags.DEFINE_string("out", None, "Also write the measurements to this JSON file.")
ONE = flags.DEFINE_bool("one", False, "Measure the single case given in this process and print JSON.")

HEADER = (
    "case", "precision", "compile s", "step s", "train img/s", "% matmul", "score img/s", "EFDM img/s",
    "% matmul", "matmul GFLOP/s", "peak GiB", "device",
)  # fmt: skip


def measure(name: str, precision: str) -> dict:
    command = [sys.executable, __file__, "--one", f"--cases={name}", f"--precision={precision}"]
    output = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
    return json.loads(output.splitlines()[-1])


def cells(name: str, precision: str, t: dict) -> list[str]:
    batch = int(name.split("/")[2])
    share = [t[f"{kind}_flop"] / t[f"{kind}_seconds"] / t["matmul_rate"] for kind in ("step", "score")]
    rates = [batch / t[f"{kind}_seconds"] for kind in ("step", "score", "efdm")]
    return [
        name, precision, f"{t['compile_seconds']:.1f}", f"{t['step_seconds']:.3f}", f"{rates[0]:.1f}",
        f"{share[0]:.0%}", f"{rates[1]:.1f}", f"{rates[2]:.1f}", f"{share[1]:.0%}", f"{t['matmul_rate'] / 1e9:.0f}",
        f"{t['peak_bytes'] / 2**30:.2f}", t["device"],
    ]  # fmt: skip


def main(_):
    if ONE.value:
        arch, size, batch = WHICH.value[0].split("/")
        timing = time_case(Case(arch, int(size), int(batch)), precision=PRECISION.value[0])
        print(json.dumps(timing._asdict() | {"device": f"{jax.devices()[0].device_kind}, jax {jax.__version__}"}))
        return
    print("| " + " | ".join(HEADER) + " |\n|" + "---|" * len(HEADER))
    results = []
    for name in WHICH.value:
        for precision in PRECISION.value:
            timing = measure(name, precision)
            results.append({"case": name, "precision": precision, **timing})
            print("| " + " | ".join(cells(name, precision, timing)) + " |", flush=True)
    if OUT.value:
        Path(OUT.value).write_text(json.dumps(results, indent=2) + "\n")


if __name__ == "__main__":
    app.run(main)
