"""Several methods on one division of a user's parts: who decides, what is kept, and what the page says."""

import json
import re
import shutil
from types import SimpleNamespace

import jax.numpy as jnp
import numpy as np
import pytest
from fitted import write_images
from PIL import Image
from small_banks import defective, pictures
from tiny_bank import TinyTeacher

from gnl_jax.cli import compare
from gnl_jax.cli import teacher as cli_teacher
from gnl_jax.cli.main import main
from gnl_jax.detection.container import read_container
from gnl_jax.detection.options import inspection_config
from gnl_jax.detection.parts import good_images
from gnl_jax.nn.teachers import TEACHERS, Teacher

ARCH = "tiny"
N, JUDGING = 48, 20
METHODS = "patchcore,matched_bank"
SMALL = ("--size", "32", "--arch", ARCH, "--teacher", "random", "--families", "gain_down,contrast")


@pytest.fixture(scope="module", autouse=True)
def tiny():
    """For this module "tiny" is a teacher like any other, of three convolutions."""

    def init(key):
        return TinyTeacher().init(key, jnp.zeros((1, 32, 32, 3)))

    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(TEACHERS, ARCH, Teacher(TinyTeacher(), init, (4, 8, 16), (4, 8, 12), drift=(1, 2)))
        patch.setattr(cli_teacher, "ARCHITECTURES", (ARCH, "resnet18"))
        yield


def run(*argv):
    try:
        return main(["compare", *map(str, argv)])
    except SystemExit as left:
        return left.code


def write_parts(root, *, good=N, bad=12):
    write_images(root / "good", pictures(good))
    write_images(root / "bad" / "spot", np.stack([defective(image) for image in pictures(bad, seed=9)]))
    return SimpleNamespace(root=root, good=root / "good", bad=root / "bad", out=root / "out")


@pytest.fixture(scope="module")
def real(tmp_path_factory, tiny):
    """Two methods compared on simulated defects."""
    parts = write_parts(tmp_path_factory.mktemp("real"))
    with pytest.MonkeyPatch.context() as patch:
        for name in ("show_log", "keep_compiled_programs", "programs_folder", "use_library_products"):
            patch.setattr(f"gnl_jax.console.{name}", lambda: None)
        assert run(parts.good, "--out", parts.out, "--methods", METHODS, *SMALL) == 0
    parts.found = json.loads((parts.out / "compare.json").read_text())
    return parts


@pytest.fixture
def parts(tmp_path):
    return write_parts(tmp_path)


def judged_by_hand(plan, detector, conditions, page, *, say):
    rng, shown = np.random.default_rng(len(plan.method)), conditions.shown
    rows = 1 + len(shown.families)
    good = rng.uniform(0, 1, (rows, len(shown.good.names)))
    bad = rng.uniform(0.5, 2, (rows, len(shown.bad.names)))
    return page | {"good": good.tolist(), "bad": bad.tolist(), "milliseconds": 3.0}


@pytest.fixture
def fake(monkeypatch):
    """Fits and scores made by hand; `begun` has the plans, `outcome` the errors, `takes` the seconds of each method."""
    begun, outcome, takes, clock = [], {}, {}, [0.0]

    def fitted(plan, folder, digest, *, minutes, say):
        begun.append((plan, minutes))
        clock[0] += takes.get(plan.method, 1.0)
        if plan.method in outcome:
            raise outcome[plan.method]
        page = {"seconds": 1.0, "bytes": 2_000_000, "memory": "about 0.4 GB", "learned from": 19, "calibrated with": 9}
        return None, page

    monkeypatch.setattr(compare, "fitted", fitted)
    monkeypatch.setattr(compare, "judged", judged_by_hand)
    monkeypatch.setattr(compare, "is_finished", lambda plan, digest: False)
    monkeypatch.setattr(compare, "time", SimpleNamespace(monotonic=lambda: clock[0]))
    return SimpleNamespace(begun=begun, outcome=outcome, takes=takes)


@pytest.fixture
def fake_fit(monkeypatch):
    """Only fits and scores are made by hand, with what is kept of them as it is; a clock that stands still.

    `begun` has (method, minutes) of each fit; a method in `interrupted` leaves a run folder and ends with Ctrl-C.
    """
    begun, interrupted = [], set()
    record = SimpleNamespace(manifest={"data": {"fit": [0] * 19, "calibration": [0] * 9}})
    detector = SimpleNamespace(require_record=lambda: record)

    def fit(folder, config, *, options, workdir, say):
        begun.append((config.method.name, options.time_budget))
        if config.method.name in interrupted:
            workdir.mkdir(exist_ok=True)
            (workdir / "config.json").write_text("{}")
            raise KeyboardInterrupt
        return detector

    monkeypatch.setattr("gnl_jax.detection.fit.fit", fit)
    monkeypatch.setattr("gnl_jax.detection.artifact.save", lambda detector, path: path.write_bytes(b"a detector"))
    monkeypatch.setattr("gnl_jax.detection.artifact.load", lambda path: detector)
    monkeypatch.setattr(compare, "judged", judged_by_hand)
    monkeypatch.setattr(compare, "time", SimpleNamespace(monotonic=lambda: 0.0))
    return SimpleNamespace(begun=begun, interrupted=interrupted)


def hashes(parts):
    """Name -> hash of the good images as the methods see them."""
    config = inspection_config()
    config.dataset.size, config.dataset.cache = 32, ""
    good = good_images(parts.good, config.dataset)
    return dict(zip(good.names, good.hashes))


@pytest.mark.slow
def test_all_methods_have_the_same_division(real):
    one, other = (read_container(real.out / f"{name}.gnl").manifest["data"] for name in METHODS.split(","))
    assert (one["fit"], one["calibration"]) == (other["fit"], other["calibration"])
    used = {*one["fit"], *one["calibration"]}
    known = hashes(real)
    judging = {digest for name, digest in known.items() if name in one["excluded"]}
    assert len(judging) == JUDGING
    assert not used & judging
    assert used | judging == set(known.values())
    assert real.found["measured"]["good parts that judge"] == JUDGING
    assert real.found["measured"]["images for the fit"] == N - JUDGING


@pytest.mark.slow
def test_what_was_measured(real):
    assert [m["method"] for m in real.found["methods"]] == METHODS.split(",")
    for method in real.found["methods"]:
        assert method["alarms"] <= 1
        assert 0 <= method["auroc"] <= 1
        assert min(method["seconds"], method["milliseconds"], method["bytes"]) > 0
        assert method["memory"].startswith("about ")
        assert method["bytes"] == (real.out / f"{method['method']}.gnl").stat().st_size
    assert [c["family"] for c in real.found["conditions"]] == [None, "gain_down", "contrast"]
    assert sum(m["wins"] for m in real.found["methods"]) == 1000


@pytest.mark.slow
def test_it_resumes_without_fitting_again(real, monkeypatch, capsys):
    monkeypatch.setattr("gnl_jax.detection.fit.fit", lambda *args, **kwargs: pytest.fail("fitted again"))
    monkeypatch.setattr("gnl_jax.report.compared_parts.judge", lambda *args: pytest.fail("judged again"))
    assert run(real.good, "--out", real.out, "--methods", METHODS, *SMALL) == 0
    again = json.loads((real.out / "compare.json").read_text())
    assert {**again, "date": ""} == {**real.found, "date": ""}
    assert "is not fitted again" in capsys.readouterr().err


@pytest.mark.slow
def test_real_defects_are_judged_by_the_same_detectors(real, monkeypatch, capsys):
    monkeypatch.setattr("gnl_jax.detection.fit.fit", lambda *args, **kwargs: pytest.fail("fitted again"))
    assert run(real.good, "--bad", real.bad, "--out", real.out, "--methods", METHODS, *SMALL) == 0
    found = json.loads((real.out / "compare.json").read_text())
    out = capsys.readouterr().out
    assert not found["simulated"]
    assert found["measured"]["kinds of defect"] == {"spot": 12}
    assert "imulated defect" not in out + (real.out / "compare.html").read_text()
    assert "of 12 defective parts" in out


@pytest.mark.slow
def test_calibration_images_take_no_part_in_the_choice(real, tmp_path):
    """With other pictures in their places all scores of the judging parts, and the choice, are the same."""
    manifest = read_container(real.out / "patchcore.gnl").manifest
    other = tmp_path / "good"
    shutil.copytree(real.good, other)
    calibrating = [n for n, digest in hashes(real).items() if digest in manifest["data"]["calibration"]]
    for i, name in enumerate(calibrating):
        Image.fromarray(np.random.default_rng(i).integers(0, 256, (40, 48, 3), np.uint8)).save(other / name)
    assert len(calibrating) >= 9
    assert run(other, "--out", tmp_path / "out", "--methods", METHODS, *SMALL) == 0
    for name in METHODS.split(","):
        before, after = (read_container(f / f"{name}.gnl").manifest for f in (real.out, tmp_path / "out"))
        assert before["data"]["fit"] == after["data"]["fit"]
        assert before["data"]["calibration"] != after["data"]["calibration"]
    found = json.loads((tmp_path / "out" / "compare.json").read_text())
    decided = ("method", "value", "caught", "alarms", "threshold", "auroc")
    for before, after in zip(real.found["methods"], found["methods"], strict=True):
        assert {k: before[k] for k in decided} == {k: after[k] for k in decided}
    assert before["method"] == after["method"]


@pytest.mark.slow
def test_an_interrupted_fit_is_resumed(real, tmp_path, monkeypatch):
    out = tmp_path / "out"
    shutil.copytree(real.out, out)
    (out / "matched_bank.gnl").unlink()

    def interrupt(*args, **kwargs):
        raise KeyboardInterrupt

    monkeypatch.setattr("gnl_jax.detection.fit.fit", interrupt)
    words = (real.good, "--out", out, "--methods", METHODS, *SMALL)
    assert run(*words) == 130
    page = json.loads((out / "matched_bank.json").read_text())
    assert page["seconds"] >= 0
    assert "sha256" not in page
    assert "sha256" in json.loads((out / "patchcore.json").read_text())


def test_simulated_defects_are_named(fake, parts, capsys):
    assert run(parts.good, "--out", parts.out, "--size", 32) == 0
    out, page = capsys.readouterr().out, (parts.out / "compare.html").read_text()
    found = json.loads((parts.out / "compare.json").read_text())
    assert found["simulated"]
    assert found["measured"]["simulated defects"] == 2 * JUDGING
    assert set(found["measured"]["kinds of defect"]) > {"scratch", "dark_spot"}
    for text in (out, page):
        assert "simulated defects" in text
        assert "The defects are simulated" in text
        assert "defective parts" not in text


def test_without_methods_the_banks_are_compared(fake, parts):
    assert run(parts.good, "--out", parts.out, "--size", 32) == 0
    assert [plan.method for plan, _ in fake.begun] == ["patchcore", "matched_bank", "two_size_bank", "augmented_bank"]
    assert len({plan.options.exclude for plan, _ in fake.begun}) == 1


def test_the_page(fake, parts):
    good = parts.root / '"><img src=x onerror=alert(1)>'
    parts.good.rename(good)
    words = ("--bad", parts.bad, "--out", parts.out, "--size", 32, "--methods", METHODS, "--group-by", r"\d+")
    assert run(good, *words) == 0
    page = (parts.out / "compare.html").read_text()
    assert "<img src=x" not in page
    assert not re.search(r"(src|href)=\"(?!data:)", page)
    for text in ("redraws of your parts", "▲ marks", "gnl-jax fit", "--method", r"--group-by &#39;\d+&#39;"):
        assert text in page, text
    found = json.loads((parts.out / "compare.json").read_text())
    assert found["recommendation"]["method"] in METHODS.split(",")
    assert f"--method {found['recommendation']['method']}" in found["next"]


def test_a_recommendation_takes_parts(fake, tmp_path, capsys):
    few = write_parts(tmp_path, good=30, bad=4)
    assert run(few.good, "--bad", few.bad, "--out", few.out, "--size", 32, "--methods", METHODS) == 0
    out = capsys.readouterr().out
    assert out.startswith("No recommendation: 10 good parts judge, and a recommendation takes 20; 4 defective parts")
    assert "1 of 10 good parts flagged (10 %): 10 parts do not support 5 %" in out
    assert "Next:" not in out


def test_a_budget_is_for_all(fake, parts, capsys):
    fake.takes.update(patchcore=120.0, matched_bank=60.0)
    methods = "gnl,patchcore,matched_bank"
    assert run(parts.good, "--out", parts.out, "--size", 32, "--methods", methods, "--minutes", 5) == 0
    assert [(plan.method, minutes) for plan, minutes in fake.begun][-1] == ("gnl", 2.0)
    fake.begun.clear()
    fake.takes.update(patchcore=400.0)
    assert run(parts.good, "--out", parts.out, "--size", 32, "--methods", methods, "--minutes", 5) == 0
    assert [plan.method for plan, _ in fake.begun] == ["patchcore"]
    found = json.loads((parts.out / "compare.json").read_text())
    assert found["left_out"] == ["matched_bank", "gnl"]
    assert found["rest"].startswith("gnl-jax compare ")
    assert "--methods patchcore,matched_bank,gnl" in found["rest"]
    assert "--minutes" not in found["rest"]
    assert "Left out, because the time was over: matched_bank, gnl." in capsys.readouterr().out


def test_another_batch_size_is_another_training_and_the_same_bank(fake_fit, parts):
    words = (parts.good, "--out", parts.out, "--size", 32, "--methods", "matched_bank,gnl")
    for batches, fitted in ((), ["matched_bank", "gnl"]), (("--batch-size", 4), ["gnl"]), (("--batch-size", 4), []):
        fake_fit.begun.clear()
        assert run(*words, *batches) == 0
        assert [method for method, _ in fake_fit.begun] == fitted


def test_a_detector_of_another_limit_is_kept_and_its_limit_is_said(fake_fit, parts, capsys):
    words = (parts.good, "--out", parts.out, "--size", 32, "--methods", "matched_bank,gnl")
    assert run(*words, "--minutes", 3.5) == 0
    assert fake_fit.begun == [("matched_bank", None), ("gnl", 3.5)]
    minutes = {name: json.loads((parts.out / f"{name}.json").read_text())["minutes"] for name, _ in fake_fit.begun}
    assert minutes == {"matched_bank": None, "gnl": 3.5}
    capsys.readouterr()
    assert run(*words, "--minutes", 100) == 0
    assert len(fake_fit.begun) == 2
    err = capsys.readouterr().err
    assert "gnl: its detector is finished, and is not fitted again (it was trained within 3.5 minutes)\n" in err
    assert "matched_bank: its detector is finished, and is not fitted again\n" in err


def test_a_training_that_resumes_keeps_the_limit_it_began_with(fake_fit, parts):
    words = (parts.good, "--out", parts.out, "--size", 32, "--methods", "gnl")
    fake_fit.interrupted.add("gnl")
    assert run(*words, "--minutes", 3.5) == 130
    fake_fit.interrupted.clear()
    assert run(*words, "--minutes", 100) == 0
    assert json.loads((parts.out / "gnl.json").read_text())["minutes"] == 3.5
    assert not (parts.out / "gnl.gnl.run").exists()


def test_a_training_with_other_options_does_not_resume(fake_fit, parts):
    words = (parts.good, "--out", parts.out, "--size", 32, "--methods", "gnl")
    fake_fit.interrupted.add("gnl")
    assert run(*words, "--minutes", 3.5) == 130
    assert (parts.out / "gnl.gnl.run" / "config.json").exists()
    fake_fit.interrupted.clear()
    assert run(*words, "--minutes", 100, "--batch-size", 4) == 0
    assert fake_fit.begun[-1] == ("gnl", 100)
    assert json.loads((parts.out / "gnl.json").read_text())["minutes"] == 100


def test_a_method_that_fails_does_not_end_the_others(fake, parts, capsys):
    fake.outcome["patchcore"] = RuntimeError("RESOURCE_EXHAUSTED: Out of memory allocating 64 bytes")
    assert run(parts.good, "--out", parts.out, "--size", 32, "--methods", f"{METHODS},two_size_bank") == 1
    out, err = capsys.readouterr()
    assert "error: patchcore: not enough memory" in err
    assert "Not fitted: patchcore: not enough memory" in out
    assert len(json.loads((parts.out / "compare.json").read_text())["methods"]) == 2
    fake.outcome.update({name: ValueError("no") for name in METHODS.split(",")})
    assert run(parts.good, "--out", parts.out, "--size", 32, "--methods", METHODS) == 1
    assert "no method could be fitted: patchcore: no; matched_bank: no" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "status", "message"),
    [
        (("--methods", "patchcore,best"), 2, "--methods: got 'best', expected some of patchcore"),
        (("--methods", "patchcore,patchcore"), 2, "expected each method once"),
        (("--minutes", 0), 2, "--minutes: got 0, expected more than 0"),
        (("--families", "fog"), 2, "--families: got 'fog', expected some of brightness"),
        (("--epochs", 3), 2, "--epochs: none of the methods is trained"),
        (("--bad", "gone"), 2, "'gone': no such folder"),
        (("--bad", "empty"), 1, "no images in 'empty'"),
        (("--size", 33), 2, "patchcore: --size"),
        (("--exclude", "gone.png"), 1, "is not among the 48 images"),
        (("--group-by", "[ab]"), 1, "does not match"),
    ],
)
def test_bad_arguments(fake, parts, monkeypatch, capsys, options, status, message):
    (parts.root / "empty").mkdir()
    monkeypatch.chdir(parts.root)
    assert run("good", "--out", "out", "--size", 32, *options) == status
    err = capsys.readouterr().err
    assert message in err
    assert "Traceback" not in err
    assert not fake.begun


def test_bad_images(fake, parts, capsys):
    words = ("--out", parts.out, "--size", 32, "--methods", METHODS)
    (parts.good / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    assert run(parts.good, *words) == 3
    assert "broken.png" in capsys.readouterr().err
    assert run(parts.good, *words, "--skip-unreadable") == 3
    assert len(fake.begun) == 2
    assert "broken.png" in fake.begun[0][0].options.exclude
    (parts.good / "broken.png").unlink()
    (parts.root / "torn").mkdir()
    (parts.root / "torn" / "0.png").write_bytes(b"\x89PNG")
    assert run(parts.good, *words, "--bad", parts.root / "torn", "--skip-unreadable") == 3
    assert "error: " in capsys.readouterr().err
    shutil.copy(parts.good / "003.png", parts.bad / "spot" / "copy.png")
    assert run(parts.good, *words, "--bad", parts.bad) == 1
    assert "1 of 13 images were given as good images, too, such as 'spot/copy.png'" in capsys.readouterr().err
    assert run(parts.root / "gone", *words) == 2
    for path in sorted(parts.good.iterdir())[26:]:
        path.unlink()
    assert run(parts.good, *words) == 2
    assert "got good images of 26 parts, expected at least 27" in capsys.readouterr().err


def test_a_file_of_something_else_is_kept(fake, parts, capsys):
    parts.out.mkdir()
    (parts.out / "patchcore.gnl").write_bytes(b"mine")
    words = (parts.good, "--out", parts.out, "--size", 32, "--methods", METHODS)
    assert run(*words) == 2
    assert "patchcore.gnl was not written by gnl-jax compare" in capsys.readouterr().err
    (parts.out / "patchcore.gnl").unlink()
    (parts.out / "patchcore.gnl.run").mkdir()  # a training of one's own that was interrupted
    assert run(*words) == 2
    assert "patchcore.gnl.run was not written by gnl-jax compare" in capsys.readouterr().err
    (parts.out / "patchcore.gnl.run").rmdir()
    (parts.out / "patchcore.json").write_text("[]")
    assert run(*words) == 2
    assert run(parts.good, "--out", parts.good / "003.png", "--size", 32) == 2
