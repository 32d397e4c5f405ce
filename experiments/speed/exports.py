"""Compares a detector with its exports: numbers, decisions, sizes, load times, and how fast each decides, taking turns.

python experiments/speed/exports.py --detector=part.gnl --images=FOLDER \
    --model=onnxruntime:part.onnx --model=openvino:part_openvino.onnx --model=onnxruntime:part_int8.onnx \
    [--model=onnxruntime_floats:OTHER.onnx] [--limit=200] [--turns=30] [--out=FILE.json]

Each program is a process of its own with all cores; they never run at once. Load: from the file to the end of the first
image's decision, imports left out. p50 and p99 are of the turns, each the mean of its calls. A model of another library
takes float32 [n 3 s s] in [0, 1] (`..._floats`): its numbers are its own, so only its time is compared.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import numpy as np
from absl import app, flags

from experiments.speed.speed_table import markdown_row
from experiments.speed.turns import serve, take_turns
from gnl_jax import console
from gnl_jax.data.listing import list_images
from gnl_jax.deploy.onnx.check import CODES
from gnl_jax.deploy.onnx.run import RUNS, in_batches
from gnl_jax.detection.artifact import load
from gnl_jax.detection.inspection import reader
from gnl_jax.files import write_atomic
from gnl_jax.machine import keep_threads_apart, numpy_settings

RUNTIMES = ("onnxruntime", "openvino", "onnxruntime_floats", "openvino_floats")
ROOT = Path(__file__).parent.parent.parent
DETECTOR = flags.DEFINE_string("detector", None, "A calibrated .gnl file.")
MODEL = flags.DEFINE_multi_string("model", [], f"RUNTIME:FILE, with a runtime of {', '.join(RUNTIMES)}.")
IMAGES = flags.DEFINE_string("images", None, "Folder of images.")
LIMIT = flags.DEFINE_integer("limit", 200, "Images at most, evenly spaced.", lower_bound=8)
TURNS = flags.DEFINE_integer("turns", 30, "Turns of each program at batch 1, and a third of them at batch 8.")
CALLS = flags.DEFINE_integer("calls", 5, "Calls in a turn.", lower_bound=1)
OUT = flags.DEFINE_string("out", None, "Also write everything to this JSON file.")
SERVE = flags.DEFINE_string("serve", "", "Be one of the programs: RUNTIME:FILE.")
SQUARES = flags.DEFINE_string("squares", "", "Of such a program: its images, uint8 [n s s 3], as .npy.")
ANSWERS = flags.DEFINE_string("answers", "", "Of such a program: write its outputs here and end.")
BATCH = flags.DEFINE_integer("batch", 1, "Of such a program: images at once.", lower_bound=1)

HEADER = ("program", "file, MB", "load, s", "score", "map", "drift", "decisions", "p50, ms", "p99, ms", "images/s at 8")
Answer = Callable[[np.ndarray], dict[str, np.ndarray]]


def answerer(model: str) -> Answer:
    """A function from images uint8 [b s s 3] to outputs by name."""
    runtime, _, file = model.partition(":")
    if runtime == "jax":
        return detector_answers(file)
    if runtime.endswith("_floats"):
        return floats_answers(runtime.removesuffix("_floats"), file)
    return RUNS[runtime](Path(file).read_bytes())


def detector_answers(file: str) -> Answer:
    detector = load(file)
    keep_threads_apart()  # as `gnl-jax score` does

    def answer(images: np.ndarray) -> dict[str, np.ndarray]:
        prediction = detector(images)
        said = [CODES[decision.decision] for decision in detector.require_record().decide(prediction)]
        found = {name: value for name, value in prediction._asdict().items() if value is not None}
        return found | {"decision": np.array(said)}

    return answer


def floats_answers(runtime: str, file: str) -> Answer:
    """Another library's model."""
    if runtime == "onnxruntime":
        import onnxruntime

        session = onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])
        name = session.get_inputs()[0].name
        run = lambda x: session.run(None, {name: x})  # noqa: E731
    else:
        import openvino

        compiled = openvino.Core().compile_model(file, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
        run = lambda x: list(compiled(x).values())  # noqa: E731

    def answer(images: np.ndarray) -> dict[str, np.ndarray]:
        outputs = run(np.ascontiguousarray(images.transpose(0, 3, 1, 2), dtype=np.float32) / 255)
        return {str(i): np.asarray(output) for i, output in enumerate(outputs)}

    return answer


def be_a_program() -> None:
    squares = np.load(SQUARES.value, mmap_mode="r")
    begun = time.perf_counter()
    answer = answerer(SERVE.value)
    answer(squares[: BATCH.value])
    loaded = time.perf_counter() - begun
    if ANSWERS.value:
        np.savez(ANSWERS.value, load_seconds=loaded, **in_batches(answer, squares, BATCH.value))
        return
    place = 0

    def call() -> None:
        nonlocal place
        answer(squares[np.arange(place, place + BATCH.value) % len(squares)])
        place += BATCH.value

    serve(call)


def run_programs(models: list[str], folder: Path) -> dict[str, dict[str, Any]]:
    paths = [str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
    environment = numpy_settings() | dict(os.environ)  # as `gnl-jax score` has
    environment |= {"JAX_PLATFORMS": "cpu", "PYTHONPATH": os.pathsep.join(paths)}

    def command(model: str, *more: str) -> list[str]:
        return [sys.executable, __file__, f"--serve={model}", f"--squares={folder / 'squares.npy'}", *more]

    results: dict[str, dict[str, Any]] = {}
    for i, model in enumerate(models):
        subprocess.run(command(model, f"--answers={folder / f'{i}.npz'}"), env=environment, check=True)
        with np.load(folder / f"{i}.npz") as found:
            results[model] = dict(found)
    for batch, turns in ((1, TURNS.value), (8, max(3, TURNS.value // 3))):
        programs = {model: (command(model, f"--batch={batch}"), environment) for model in models}
        taken = take_turns(programs, turns=turns, calls=CALLS.value, description=f"batches of {batch}")
        for model, seconds in taken.items():
            results[model][f"seconds_{batch}"] = np.array(seconds)
    return results


def largest_error(found: np.ndarray, expected: np.ndarray) -> float:
    """The largest error of an image, relative to its largest value."""
    a, b = (np.asarray(x, np.float64).reshape(len(expected), -1) for x in (found, expected))
    return float((np.abs(a - b).max(1) / np.abs(b).max(1)).max())


def compared(model: str, found: dict[str, np.ndarray], expected: dict[str, np.ndarray]) -> dict[str, Any]:
    """What the table has of one program."""
    row: dict[str, Any] = {"program": model, "bytes": os.path.getsize(model.partition(":")[2])}
    row["load_seconds"] = float(found["load_seconds"])
    if "decision" in found and found is not expected:
        names = [name for name in ("score", "map", "drift") if name in expected]
        row["errors"] = {name: largest_error(found[name], expected[name]) for name in names}
        row["other_decisions"] = int((found["decision"] != expected["decision"]).sum())
    row["images"] = len(expected["score"])
    row["p50_ms"], row["p99_ms"] = (1e3 * float(np.quantile(found["seconds_1"], q)) for q in (0.5, 0.99))
    row["images_per_second_at_8"] = 8 / float(np.median(found["seconds_8"]))
    return row


def cells(row: dict[str, Any]) -> list[str]:
    errors = row.get("errors", {})
    other = f"{row['other_decisions']} of {row['images']} differ" if errors else ""
    runtime, _, file = row["program"].partition(":")
    return [
        f"{runtime}, {Path(file).name}",
        f"{row['bytes'] / 1e6:.1f}",
        f"{row['load_seconds']:.2f}",
        *(f"{errors[name]:.1e}" if name in errors else "" for name in ("score", "map", "drift")),
        other,
        f"{row['p50_ms']:.0f}",
        f"{row['p99_ms']:.0f}",
        f"{row['images_per_second_at_8']:.1f}",
    ]


def run() -> None:
    if SERVE.value:
        return be_a_program()
    for model in MODEL.value:
        if model.partition(":")[0] not in RUNTIMES or not Path(model.partition(":")[2]).is_file():
            raise ValueError(f"--model: got {model!r}, expected RUNTIME:FILE with one of {', '.join(RUNTIMES)}")
    names = sorted(list_images(IMAGES.value))
    names = [names[i * len(names) // min(len(names), LIMIT.value)] for i in range(min(len(names), LIMIT.value))]
    read = reader(load(DETECTOR.value))
    models = [f"jax:{DETECTOR.value}", *MODEL.value]
    with tempfile.TemporaryDirectory() as folder:
        squares = np.stack([read(os.path.join(IMAGES.value, name), None).image for name in names])
        np.save(Path(folder) / "squares.npy", squares)
        results = run_programs(models, Path(folder))
    rows = [compared(model, results[model], results[models[0]]) for model in models]
    print(f"{len(names)} images of {squares.shape[1]}x{squares.shape[2]}, jax {jax.__version__}")
    print(markdown_row(HEADER) + "\n|" + "---|" * len(HEADER))
    for row in rows:
        print(markdown_row(cells(row)))
    if OUT.value:
        write_atomic(OUT.value, json.dumps({"rows": rows}, indent=1) + "\n")


if __name__ == "__main__":
    app.run(lambda argv: console.run(run), flags_parser=console.parse_flags)
