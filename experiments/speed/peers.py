"""Compares this package's methods with anomalib's: the same images, teacher weights, threshold rule, cores and threads.

python experiments/speed/peers.py --good=train/good --condition=id=test --condition=dark=test_dark \
    --peer_python=OTHER/bin/python [--group_by=groups.csv] [--workdir=FOLDER] [--out=FILE.json]

anomalib runs in an environment of its own (`pip install anomalib`, or the extra `peers`) as PyTorch in float32 with its
defaults; reverse distillation trains for --epochs in batches of 16, as ours. Linux, CPU only; the machine should be
idle, and holds all models at once while they take turns. "fit s" is from good images to a model with what a threshold
takes; ours also reads the files. Starts: from the start of a process to its first score, imports and model file
included; ours compiles at its first start, and the later ones find what it compiled.
"""

import hashlib
import json
import os
import subprocess
import sys
import tempfile
from contextlib import nullcontext
from pathlib import Path

import jax
import numpy as np
from absl import app, flags

from experiments.speed.peers_measure import COST, Program, Turns, cost_row, measure
from experiments.speed.peers_task import Task, judge, read_task, write_images
from experiments.speed.speed_table import markdown_row
from gnl_jax import console
from gnl_jax.config import METHODS
from gnl_jax.detection.options import inspection_config
from gnl_jax.detection.threshold import make_rule, parse_rate
from gnl_jax.files import write_atomic
from gnl_jax.machine import numpy_settings, usable_cores
from gnl_jax.named_methods import BANKS
from gnl_jax.nn.pretrained import load_teacher
from gnl_jax.nn.torch_keys import to_torch

ROOT = Path(__file__).parent.parent.parent
TRAINED = "reverse_distillation"  # faster where memory is kept, which is as good for PyTorch (`against_torch.py`)
PEERS = ("patchcore", "padim", TRAINED)
GOOD = flags.DEFINE_string("good", None, "Folder of good images.")
CALIBRATION = flags.DEFINE_integer("calibration", 0, "Parts of them that only calibrate; 0: as `gnl-jax fit` chooses.")
GROUP_BY = flags.DEFINE_string("group_by", "", "Which images show the same part, as for `gnl-jax fit`.")
CONDITION = flags.DEFINE_multi_string("condition", None, "NAME=FOLDER with good/ and a folder for each defect.")
OURS = flags.DEFINE_list("ours", ["gnl"], "This package's methods, comma-separated.")
WHICH = flags.DEFINE_list("peers", list(PEERS), f"anomalib's methods, comma-separated, of {', '.join(PEERS)}.")
PEER_PYTHON = flags.DEFINE_string("peer_python", "", "Python interpreter of an environment with anomalib.")
TEACHER = flags.DEFINE_string("teacher", "", "ResNet-18's weights, as the field teacher.weights.")
SIZE = flags.DEFINE_integer("size", 256, "Side of the images in pixels.", lower_bound=32)
THREADS = flags.DEFINE_integer("threads", 0, "Processor cores and threads of each program; 0: all.", lower_bound=0)
CORESET = flags.DEFINE_float("coreset", 0.1, "Share of its patches that PatchCore keeps.", 0, 1)
EPOCHS = flags.DEFINE_integer("epochs", 20, "Epochs of the methods that train.", lower_bound=1)
SEED = flags.DEFINE_integer("seed", 0, "Of the division of the images, and of each method.")
RATE = flags.DEFINE_string("rate", "5%", "False-alarm rate that thresholds are set for.")
STARTS = flags.DEFINE_integer("starts", 3, "Times that each program is started.", lower_bound=1)
TURNS = flags.DEFINE_integer("turns", 10, "Turns of each program.", lower_bound=1)
CALLS = flags.DEFINE_integer("calls", 3, "Calls in a turn.", lower_bound=1)
WORKDIR = flags.DEFINE_string("workdir", None, "Keeps models here; a fit that was done there is not repeated.")
OUT = flags.DEFINE_string("out", None, "Also write everything to this JSON file.")


def check_flags() -> dict[str, str]:
    """The conditions, name to folder; ValueError for flags that cannot be used."""
    for flag, given, known in (("ours", OURS.value, METHODS), ("peers", WHICH.value, PEERS)):
        if unknown := [name for name in given if name not in known]:
            raise ValueError(f"--{flag}: got {unknown[0]!r}, expected some of {', '.join(known)}")
    if not OURS.value and not WHICH.value:
        raise ValueError("--ours, --peers: got nothing, expected a method")
    if WHICH.value and not PEER_PYTHON.value:
        raise ValueError("--peer_python: got nothing, expected the Python of an environment with anomalib")
    for text in CONDITION.value:
        if not all(text.partition("=")):
            raise ValueError(f"--condition: got {text!r}, expected NAME=FOLDER")
    if THREADS.value > usable_cores():
        raise ValueError(f"--threads: got {THREADS.value}, expected at most the {usable_cores()} cores")
    return dict(text.split("=", 1) for text in CONDITION.value)


def peer_versions() -> dict[str, str]:
    """Versions in the peers' environment; ValueError where it has no anomalib."""
    code = "import importlib.metadata as m, json; print(json.dumps({n: m.version(n) for n in ('anomalib', 'torch')}))"
    try:
        done = subprocess.run([PEER_PYTHON.value, "-c", code], check=True, capture_output=True, text=True)
    except (OSError, subprocess.CalledProcessError) as error:
        raise ValueError(f"--peer_python: got {PEER_PYTHON.value!r}, expected one with anomalib ({error})") from error
    return json.loads(done.stdout)


def make_programs(workdir: Path) -> dict[str, Program]:
    """Name to program; the name tells whose method it is."""
    env = {name: value for name, value in os.environ.items() if name not in ("GLIBC_TUNABLES", "PYTHONPATH")}
    env |= {"PYTHONPATH": str(ROOT), "JAX_PLATFORMS": "cpu", "OMP_NUM_THREADS": str(usable_cores())}
    env["JAX_COMPILATION_CACHE_DIR"] = str(workdir / "xla")  # of this comparison alone
    ours = Program((sys.executable, "-m", "experiments.speed.peers_ours"), numpy_settings() | env)  # as `gnl-jax score`
    theirs = Program((PEER_PYTHON.value, "-m", "experiments.speed.peers_anomalib"), env)
    return {f"gnl_jax {name}": ours._replace(memory=our_memory(name)) for name in OURS.value} | {
        f"anomalib {name}": theirs._replace(memory=console.KEPT_MEMORY if name == TRAINED else "")
        for name in WHICH.value
    }


def our_memory(method: str) -> str:
    """As `gnl-jax fit` has it."""
    return console.ONE_HEAP if method in BANKS else console.KEPT_MEMORY


def make_jobs(task: Task, programs: dict[str, Program], workdir: Path) -> dict[str, dict]:
    """What each program is asked for; the teacher's weights, whatever --teacher names, are one file for all."""
    arch, teacher = inspection_config().teacher.arch, workdir / "teacher.npz"
    np.savez(teacher, **to_torch(load_teacher(arch, TEACHER.value, seed=SEED.value)))
    job = {
        "arch": arch, "teacher": str(teacher), "teacher_sha256": hashlib.sha256(teacher.read_bytes()).hexdigest(),
        "good": os.path.abspath(GOOD.value), "group_by": GROUP_BY.value, "images": write_images(task, workdir),
        "hashes": {"fit": list(task.fitting.hashes), "calibration": list(task.calibrating.hashes)},
        "calibration_parts": len(set(task.calibrating.parts)), "size": SIZE.value, "seed": SEED.value,
        "threads": usable_cores(), "epochs": EPOCHS.value, "coreset": CORESET.value, "batch": 8,
    }  # fmt: skip
    return {name: {**job, "method": name.split(" ", 1)[1]} for name in programs}


def print_tables(results: dict[str, dict], conditions: list[str]) -> None:
    print("\n" + markdown_row(COST) + "\n|" + "---|" * len(COST))
    for name, measured in results.items():
        print(markdown_row(cost_row(name, measured)))
    print("\nImage AUROC (false alarms of good parts, detected of defective parts)\n")
    print(markdown_row(["method", *conditions]) + "\n|" + "---|" * (len(conditions) + 1))
    for name, measured in results.items():
        found = measured["judged"]["conditions"].values()
        cells = (
            f"{100 * c['auroc']:.1f} ({c['false_alarms']} of {c['good']}, {c['detected']} of {c['defective']})"
            for c in found
        )
        print(markdown_row([name, *cells]), flush=True)


def run():
    conditions, rate = check_flags(), parse_rate(RATE.value)
    versions = {"jax": jax.__version__} | (peer_versions() if WHICH.value else {})
    if THREADS.value:  # inherited by every program
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: THREADS.value])
    config = inspection_config()
    config.dataset.size = SIZE.value
    reading = {"dataset": config.dataset, "calibration": CALIBRATION.value or None, "group_by": GROUP_BY.value}
    task = read_task(GOOD.value, conditions, seed=SEED.value, **reading)
    make_rule(rate, len(set(task.calibrating.parts)))  # RateError before anything is fitted, not after
    keep = nullcontext(WORKDIR.value) if WORKDIR.value else tempfile.TemporaryDirectory(prefix="gnl_jax_peers_")
    with keep as folder:
        workdir = Path(os.path.abspath(folder))
        workdir.mkdir(parents=True, exist_ok=True)
        programs = make_programs(workdir)
        jobs = make_jobs(task, programs, workdir)
        results = measure(programs, jobs, workdir, times=Turns(STARTS.value, TURNS.value, CALLS.value))
    for measured in results.values():
        measured["judged"] = judge(measured["score"]["scores"], task, rate=rate)
    counts = f"{len(task.fitting.names)} images fit, {len(task.calibrating.names)} calibrate"
    words = ", ".join(f"{name} {version}" for name, version in versions.items())
    print(f"{counts}, {SIZE.value}x{SIZE.value}, {usable_cores()} threads, {words}")
    print_tables(results, list(conditions))
    if OUT.value:
        asked = {flag.name: flag.value for flag in flags.FLAGS.get_flags_for_module(sys.modules[__name__])}
        write_atomic(OUT.value, json.dumps({"flags": asked, "versions": versions, "results": results}, indent=2) + "\n")


if __name__ == "__main__":
    flags.mark_flags_as_required(["good", "condition"])
    app.run(lambda argv: console.run(run), flags_parser=console.parse_flags)
