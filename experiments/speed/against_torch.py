"""Measures a GNL step beside the published networks in PyTorch, in processes that take turns on this machine's CPU.

python experiments/speed/against_torch.py [--cases=resnet18/32/16,...] [--program=torch --program=cached] [--turns=20]

Needs PyTorch (pip install -e '.[torch]') and an idle machine. PyTorch computes three given views one after the other,
as published with the teacher's operations recorded, losses and Adam; ours begins with uint8 images and AugMix. Medians.
"""

import importlib.util
import os
import statistics
import sys

import jax
from absl import app, flags

from experiments.speed.timing import Case, make_programs, random_config
from experiments.speed.turns import serve, take_turns
from gnl_jax import console

PROGRAMS = {  # name -> (in words, memory is kept by the C library)
    "torch": ("PyTorch, as published", False),
    "torch_frozen": ("PyTorch, teacher without gradient", False),
    "torch_kept": ("PyTorch, teacher without gradient, memory kept", True),
    "computed": ("gnl_jax, features computed", True),
    "cached": ("gnl_jax, features cached", True),
}
CASES = flags.DEFINE_list("cases", ["resnet18/32/16"], "ARCHITECTURE/SIZE/BATCH, comma-separated.")
WHICH = flags.DEFINE_multi_enum("program", list(PROGRAMS), list(PROGRAMS), "Programs; all are in memory together.")
TURNS = flags.DEFINE_integer("turns", 20, "Turns of every program.", lower_bound=1)
CALLS = flags.DEFINE_integer("calls", 2, "Steps in a turn.", lower_bound=1)
SERVE = flags.DEFINE_bool("serve", False, "Take the part of the single program given in this process.")


def serve_one(case: Case, name: str) -> None:
    if name.startswith("torch"):
        from experiments.speed.published_torch import random_step

        return serve(random_step(*case, teacher_gradient=name == "torch"))
    config = random_config(case)
    config.train.feature_budget_mb = 1e6 * (name == "cached")
    step = make_programs(config).step
    serve(lambda: jax.block_until_ready(step()))


def measure(case: str) -> None:
    given = {k: v for k, v in os.environ.items() if k != "GLIBC_TUNABLES"} | {"JAX_PLATFORMS": "cpu"}
    kept = given | {"GLIBC_TUNABLES": console.KEPT_MEMORY}
    command = [sys.executable, __file__, f"--cases={case}", "--serve"]
    programs = {n: ([*command, f"--program={n}"], kept if PROGRAMS[n][1] else given) for n in WHICH.value}
    turns = take_turns(programs, turns=TURNS.value, calls=CALLS.value, description=case)
    medians = {name: statistics.median(turns[name]) for name in WHICH.value}
    for name, s in medians.items():
        print(f"| {case} | {PROGRAMS[name][0]} | {s:.3f} | {medians[WHICH.value[0]] / s:.2f} |", flush=True)


def run():
    cases = [Case.parse(name) for name in CASES.value]
    if SERVE.value:
        return serve_one(cases[0], WHICH.value[0])
    if importlib.util.find_spec("torch") is None:
        raise ValueError("PyTorch is not installed: pip install -e '.[torch]'")
    print("| case | program | s a step | times as fast as the first |\n|---|---|---|---|", flush=True)
    for case in CASES.value:
        measure(case)


if __name__ == "__main__":
    app.run(lambda argv: console.run(run), flags_parser=console.parse_flags)
