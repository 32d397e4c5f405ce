"""DINOv2 ViT-S/14 beside transformers' in PyTorch, float32, random weights: processes that take turns on this machine.

python experiments/speed/dinov2.py --peer_python=OTHER/bin/python [--cases=224,448] [--batch=1] [--turns=10]
taskset -c 0 python experiments/speed/dinov2.py ... --clock=processor

OTHER is an environment with torch and transformers. Milliseconds of a pass from images to the last tokens, medians over
the turns and smallest. On a busy machine: processor time on one core, the second line.
"""

import os
import statistics
import sys
import time
from pathlib import Path

import jax
import numpy as np
from absl import app, flags

from experiments.speed.turns import serve, take_turns
from gnl_jax import console
from gnl_jax.nn.pretrained import load_teacher
from gnl_jax.nn.teachers import TEACHERS

ROOT = Path(__file__).parent.parent.parent
CASES = flags.DEFINE_list("cases", ["224", "448"], "Sides of the images in pixels, comma-separated.")
BATCH = flags.DEFINE_integer("batch", 1, "Images of a pass.", lower_bound=1)
TURNS = flags.DEFINE_integer("turns", 10, "Turns of each program.", lower_bound=1)
CALLS = flags.DEFINE_integer("calls", 1, "Passes in a turn.", lower_bound=1)
PEER_PYTHON = flags.DEFINE_string("peer_python", None, "Python of an environment with torch and transformers.")
CLOCKS = {"wall": time.perf_counter, "processor": time.process_time}
CLOCK = flags.DEFINE_enum("clock", "wall", list(CLOCKS), "What is counted: time on the wall, or of the processor.")
SERVE = flags.DEFINE_bool("serve", False, "Take our part in this process.")


def serve_ours(side: int) -> None:
    teacher = TEACHERS["dinov2_vits14"]
    variables = load_teacher("dinov2_vits14", "random")
    tokens = jax.jit(lambda variables, x: teacher.module.apply(variables, x)[-1])
    x = np.random.default_rng(0).standard_normal((BATCH.value, side, side, 3), np.float32)
    serve(lambda: jax.block_until_ready(tokens(variables, x)), clock=CLOCKS[CLOCK.value])


def measure(side: str) -> None:
    environment = dict(os.environ) | {"JAX_PLATFORMS": "cpu", "PYTHONPATH": str(ROOT)}
    peer = str(ROOT / "experiments" / "speed" / "dinov2_torch.py")
    ours = [sys.executable, __file__, "--serve", f"--cases={side}", f"--batch={BATCH.value}", f"--clock={CLOCK.value}"]
    programs = {
        "gnl_jax": (ours, environment),
        "transformers": ([PEER_PYTHON.value, peer, side, str(BATCH.value), CLOCK.value], environment),
    }
    turns = take_turns(programs, turns=TURNS.value, calls=CALLS.value, description=side)
    for name, seconds in turns.items():
        median, least = 1e3 * statistics.median(seconds), 1e3 * min(seconds)
        print(f"| {side} | {name} | {median:.0f} | {least:.0f} |", flush=True)


def run():
    if SERVE.value:
        return serve_ours(int(CASES.value[0]))
    if PEER_PYTHON.value is None:
        raise ValueError(
            "--peer_python: got nothing, expected the Python of an environment with torch and transformers"
        )
    print("| side | program | median, ms | smallest, ms |\n|---|---|---|---|")
    for side in CASES.value:
        measure(side)


if __name__ == "__main__":
    app.run(lambda argv: console.run(run), flags_parser=console.parse_flags)
