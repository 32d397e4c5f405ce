"""Measures a GNL step beside the published networks in PyTorch, in processes that take turns on this machine's CPU.

python experiments/speed_torch.py [--cases=resnet18/32/16,wide_resnet50_2/256/2] [--turns=20] [--calls=2]
Needs PyTorch: pip install -e '.[torch]'. It computes three given views one after the other, their losses and Adam; ours
begins with uint8 images and AugMix. The published code records the teacher's operations, too. Medians over the turns.
"""

import importlib.util
import os
import statistics
import sys

import jax
from absl import app, flags

from gnl_jax import console
from gnl_jax.evaluation.speed_table import markdown_row
from gnl_jax.evaluation.timing import Case, make_programs, random_config
from gnl_jax.evaluation.turns import serve, take_turns

PROGRAMS = {  # name -> memory is kept by the C library
    "PyTorch, as published": False,
    "PyTorch, teacher without gradient": False,
    "PyTorch, teacher without gradient, memory kept": True,
    "gnl_jax, features computed": True,
    "gnl_jax, features cached": True,
}
CASES = flags.DEFINE_list("cases", ["resnet18/32/16"], "ARCHITECTURE/SIZE/BATCH, comma-separated.")
TURNS = flags.DEFINE_integer("turns", 20, "Turns of every program.", lower_bound=1)
CALLS = flags.DEFINE_integer("calls", 2, "Steps in a turn.", lower_bound=1)
ONE = flags.DEFINE_enum("one", None, list(PROGRAMS), "Take this program's part in this process (used internally).")


def serve_one(case: Case, name: str) -> None:
    if name.startswith("PyTorch"):
        from gnl_jax.evaluation.published_torch import random_step

        serve(random_step(*case, teacher_gradient=name == "PyTorch, as published"))
        return
    config = random_config(case)
    config.train.feature_budget_mb = 1e6 * (name == "gnl_jax, features cached")
    step = make_programs(config).step
    serve(lambda: jax.block_until_ready(step()))


def measure(name: str) -> None:
    given = {key: value for key, value in os.environ.items() if key != "GLIBC_TUNABLES"} | {"JAX_PLATFORMS": "cpu"}
    kept = given | {"GLIBC_TUNABLES": console.KEPT_MEMORY}
    one = [sys.executable, __file__, f"--cases={name}"]
    programs = {who: ([*one, f"--one={who}"], kept if keeps else given) for who, keeps in PROGRAMS.items()}
    seconds = take_turns(programs, turns=TURNS.value, calls=CALLS.value, description=name)
    medians = {who: statistics.median(seconds[who]) for who in PROGRAMS}
    for who, s in medians.items():
        print(markdown_row([name, who, f"{s:.3f}", f"{medians['PyTorch, as published'] / s:.2f}"]), flush=True)


def run():
    cases = [Case.parse(name) for name in CASES.value]
    if ONE.value:
        return serve_one(cases[0], ONE.value)
    if importlib.util.find_spec("torch") is None:
        raise ValueError("PyTorch is not installed: pip install -e '.[torch]'")
    print("| case | program | s a step | times as fast as published |\n|---|---|---|---|", flush=True)
    for name in CASES.value:
        measure(name)


if __name__ == "__main__":
    app.run(lambda argv: console.run(run), flags_parser=console.parse_flags)
