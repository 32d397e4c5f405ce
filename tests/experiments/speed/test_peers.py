"""The comparison with other libraries: the same images for all, one threshold rule, and what each program is asked."""

import json
import os
import sys
import zlib
from fractions import Fraction
from pathlib import Path

import jax
import numpy as np
import programs
import pytest
from PIL import Image

from experiments.speed import peers_measure
from experiments.speed.peers_measure import COST, Program, Turns, cost_row, measure
from experiments.speed.peers_task import judge, read_task, write_images
from gnl_jax.config import default_config
from gnl_jax.detection.threshold import RateError

ROOT = Path(__file__).parent.parent.parent.parent
# A method in NumPy: the distance to the mean of the images; its fits are counted in a file.
METHOD = """
import json, numpy as np
from experiments.speed.peers_program import System, main
def fit(job):
    if job["method"] == "broken":
        raise SystemExit(3)
    with open(job["log"], "a") as file:
        print(job["method"], file=file)
    with open(job["model"], "wb") as file:
        np.save(file, np.load(job["images"]["fit"]).mean(axis=0))
def load(job):
    mean = np.load(job["model"])
    return lambda images: np.abs(images - mean).mean(axis=(1, 2, 3))[:, None]
main({name: System(fit, load) for name in ("mean", "broken")})
"""


def dataset():
    config = default_config().dataset
    config.name, config.cache = "folder", ""
    return config


def write(folder: Path, name: str, level: int) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    noise = np.random.default_rng(zlib.crc32(name.encode())).integers(-3, 4, (40, 48, 3))
    Image.fromarray((level + noise).astype(np.uint8)).save(folder / name)


@pytest.fixture
def folders(tmp_path):
    """Good images of 30 parts, two of each part; a test folder of 4 good and 6 defective parts, two images of each."""
    for part in range(30):
        for view in range(2):
            write(tmp_path / "good", f"{part}_{view}.png", 100 + part)
    for part in range(30, 40):
        for view in range(2):
            kind = "good" if part < 34 else "scratch" if part < 38 else "dent"
            write(tmp_path / "test" / kind, f"{part}_{view}.png", 80 + part + 30 * (kind != "good"))
    return tmp_path


def task_of(folder, **options):
    given = {"dataset": dataset(), "calibration": None, "group_by": r"^(?:.*/)?(\d+)_", "seed": 0} | options
    return read_task(str(folder / "good"), {"id": str(folder / "test")}, **given)


def test_images_are_divided_by_parts_and_read_at_one_size(folders):
    task = task_of(folders, calibration=10)
    assert len(set(task.calibrating.parts)) == 10
    assert len(task.calibrating.names) == 20
    assert set(task.calibrating.parts).isdisjoint(task.fitting.parts)
    assert task.fitting.images.shape == (40, 32, 32, 3)
    condition = task.conditions["id"]
    assert condition.images.shape == (20, 32, 32, 3)
    assert condition.anomalous.sum() == 12
    assert len(set(condition.parts)) == 10
    other = task_of(folders, calibration=10, seed=1)
    assert set(other.calibrating.parts) != set(task.calibrating.parts)


@pytest.mark.parametrize("kind", ["good", "scratch"])
def test_a_test_folder_with_one_class_is_named(folders, kind):
    with pytest.raises(ValueError, match=f"{kind}': got images in .*, expected some in good/"):
        read_task(
            str(folders / "good"),
            {"id": str(folders / "test" / kind)},
            dataset=dataset(),
            calibration=None,
            group_by="",
            seed=0,
        )


def test_one_threshold_rule(folders):
    """The k-th largest of the calibration parts, each with its largest score; above it is flagged, at it is not."""
    task = task_of(folders, calibration=20)
    by_part = {part: float(i) for i, part in enumerate(dict.fromkeys(task.calibrating.parts))}
    seen, calibration = set(), []
    for part in task.calibrating.parts:  # the second image of a part scores lower
        calibration.append(by_part[part] - (0.25 if part in seen else 0.0))
        seen.add(part)
    condition = task.conditions["id"]
    good, kinds = np.flatnonzero(~condition.anomalous), np.flatnonzero(condition.anomalous)
    scores = np.zeros(20)
    scores[good] = [18.0, 18.0, 18.0, 18.5, 3.0, 3.0, 3.0, 3.0]  # parts by two: one is flagged
    scores[kinds] = [20.0, 20.0, 18.0, 18.0, 18.0, 19.0, 0.0, 0.0, 30.0, 0.0, 0.0, 0.0]  # three are
    found = judge({"calibration": calibration, "condition id": scores}, task, rate=Fraction(10, 100))
    assert found["threshold"] == 18.0  # k = floor(21 / 10) = 2: the second largest of 0 to 19
    pairs = np.sign(scores[kinds][:, None] - scores[good][None])
    assert found["conditions"]["id"] == {
        "auroc": pytest.approx(np.mean((pairs + 1) / 2)),
        "false_alarms": 1,
        "good": 4,
        "detected": 3,
        "defective": 6,
    }
    with pytest.raises(RateError, match="takes at least 99"):
        judge({"calibration": calibration, "condition id": scores}, task, rate=Fraction(1, 100))


def program_and_job(folders, method: str):
    (folders / "method.py").write_text(METHOD)
    workdir = folders / "work"
    workdir.mkdir(exist_ok=True)
    env = dict(os.environ, PYTHONPATH=str(ROOT))
    job = {"method": method, "log": str(folders / "log"), "batch": 8}
    return Program((sys.executable, str(folders / "method.py")), env), job, workdir


@pytest.mark.slow
def test_programs_are_fitted_scored_and_timed(folders, monkeypatch):
    program, job, workdir = program_and_job(folders, "mean")
    task = task_of(folders, calibration=10)
    job["images"] = write_images(task, workdir)
    times = Turns(starts=2, turns=3, calls=2)
    found = measure({"one": program, "two": program}, {"one": job, "two": job}, workdir, times=times)
    assert list(found) == ["one", "two"]
    mean = task.fitting.images.mean(axis=0)
    for measured in found.values():
        for name, images in (("calibration", task.calibrating), ("condition id", task.conditions["id"])):
            expected = np.abs(images.images - mean).mean(axis=(1, 2, 3))
            np.testing.assert_allclose(measured["score"]["scores"][name], expected)
        assert measured["fit"]["file_bytes"] > 8 * mean.size
        assert measured["fit"]["peak_bytes"] > 2**20
        assert len(measured["start_seconds"]) == 2
        assert {batch: len(seconds) for batch, seconds in measured["call_seconds"].items()} == {"1": 3, "8": 3}
        assert len(cost_row("one", measured)) == len(COST)
    judged = judge(found["one"]["score"]["scores"], task, rate=Fraction(10, 100))
    assert judged["conditions"]["id"]["detected"] == 6
    # The same fit is not repeated; another one is.
    monkeypatch.setattr(peers_measure, "take_turns", lambda programs, **k: {name: [] for name in programs})
    once = Turns(starts=0, turns=1, calls=1)
    again = measure({"one": program}, {"one": job}, workdir, times=once)
    assert again["one"]["fit"] == found["one"]["fit"]
    assert (folders / "log").read_text().split() == ["mean"] * 2
    measure({"one": program}, {"one": {**job, "batch": 4}}, workdir, times=once)
    assert (folders / "log").read_text().split() == ["mean"] * 3


def test_a_program_that_fails_is_named(folders):
    program, job, workdir = program_and_job(folders, "broken")
    job["images"] = {}
    with pytest.raises(ChildProcessError, match="wreck: ended with exit status 3"):
        measure({"wreck": program}, {"wreck": job}, workdir, times=Turns(1, 1, 1))
    served = peers_measure.write_job(workdir, "wreck", job, action="serve")
    assert json.loads(served.read_text())["action"] == "serve"
    with pytest.raises(ChildProcessError, match="wreck: ended with exit status 1"):
        peers_measure.start_up("wreck", program, served)


def test_a_row_of_costs():
    measured = {
        "fit": {"seconds": 61.4, "peak_bytes": 3 * 2**29, "file_bytes": 2**21},
        "score": {"peak_bytes": 2**29},
        "start_seconds": [9.0, 2.0, 4.0, 3.0],
        "call_seconds": {"1": [0.1, 0.3, 0.2], "8": [1.0, 2.0, 1.6]},
    }
    assert cost_row("a", measured) == ["a", "61", "200", "5.0", "1.50", "0.50", "9.0", "3.0", "2"]
    measured["start_seconds"] = [9.0]
    assert cost_row("a", measured)[-2] == "–"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("flag", "message"),
    [
        ("--condition=test", "--condition: got 'test', expected NAME=FOLDER"),
        ("--ours=gnls", "--ours: got 'gnls', expected some of rd4ad"),
        ("--peer_python=/absent/python", "--peer_python: got '/absent/python', expected one with anomalib"),
    ],
)
def test_flags_that_cannot_be_used_are_one_line(flag, message):
    done = programs.run("speed/peers", "--good=good", "--condition=id=test", "--peer_python=python", flag)
    assert done.returncode == 1
    assert done.stderr.startswith(f"error: {message}")
    assert done.stderr.count("\n") == 1


OURS = ("--ours=patchcore", "--peers=", "--size=32", "--group_by=(\\d+)_", "--calibration=10")
MEASURED = ("--starts=1", "--turns=1", "--calls=1")


def peers(folders: Path, run=programs.run, *more: str):
    """The program, without another library, on `folders`."""
    given = (f"--good={folders}/good", f"--condition=id={folders}/test", f"--workdir={folders}/work")
    return run("speed/peers", *given, *OURS, *MEASURED, *more)


def test_a_rate_that_the_parts_cannot_support_is_refused_before_any_fit(folders):
    done = peers(folders, programs.run_quickly, "--rate=1%")
    assert done.returncode == 1
    line = "error: a false-alarm rate of 1 % takes at least 99 calibration images (one for each part), got 10"
    assert done.stderr.splitlines()[-1] == line
    assert not (folders / "work").exists()


@pytest.mark.slow
def test_the_program_measures_judges_and_writes(folders):
    """Its own fit, on the division that the peers would be given."""
    done = peers(folders, programs.run, "--rate=10%", f"--out={folders}/out.json")
    assert done.returncode == 0, done.stderr
    found = json.loads((folders / "out.json").read_text())
    assert set(found) == {"flags", "versions", "results"}
    assert (found["flags"]["size"], found["flags"]["rate"], found["flags"]["peers"]) == (32, "10%", [])
    assert found["versions"] == {"jax": jax.__version__}
    assert list(found["results"]) == ["gnl_jax patchcore"]
    measured = found["results"]["gnl_jax patchcore"]
    task = task_of(folders, calibration=10, group_by=r"(\d+)_")
    counts = {name: len(scores) for name, scores in measured["score"]["scores"].items()}
    assert counts == {"fit": 40, "calibration": 20, "condition id": 20}
    assert measured["judged"] == judge(measured["score"]["scores"], task, rate=Fraction(10, 100))
    assert measured["judged"]["conditions"]["id"]["defective"] == 6
    assert min(measured["fit"].values()) > 0
    assert len(measured["start_seconds"]) == 1
    assert {batch: len(seconds) for batch, seconds in measured["call_seconds"].items()} == {"1": 1, "8": 1}
    assert "40 images fit, 20 calibrate, 32x32" in done.stdout
    assert done.stdout.count("| gnl_jax patchcore |") == 2
