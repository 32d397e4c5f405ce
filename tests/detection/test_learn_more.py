"""More images for a memory bank, and fewer: what grows, what stays, what is refused; and no rate of few images."""

import dataclasses
import functools
from fractions import Fraction

import flax.traverse_util
import numpy as np
import pytest
import tiny_method
from fitted import write_images
from programs import status
from tiny_bank import config, fit_bank, fitted, images, make_method

from gnl_jax.config import set_method
from gnl_jax.data.pixels import pixel_hash
from gnl_jax.deploy.export import export_detector
from gnl_jax.detection import artifact
from gnl_jax.detection.artifact import load, save, shared_variables
from gnl_jax.detection.container import read_container
from gnl_jax.detection.fit import fit
from gnl_jax.detection.learn_more import add_images, remove_images
from gnl_jax.detection.limits import make_limits
from gnl_jax.detection.options import FitOptions
from gnl_jax.detection.parts import GoodImages
from gnl_jax.detection.ranking import predict_as_new
from gnl_jax.detection.recalibrate import recalibrate
from gnl_jax.detection.region import Region
from gnl_jax.detection.threshold import RateError
from gnl_jax.methods.bank_growth import grown_rows
from gnl_jax.ops.coreset import k_center_beyond
from gnl_jax.report.shift import shift_report
from gnl_jax.report.shift_files import ShiftOptions

MORE = images(7, seed=1)
TINY = tiny_method.make_method(tiny_method.make_config())  # it trains, and learns nothing more


def good(array, *, name="new", parts=None):
    names = tuple(f"{name} {i}" for i in range(len(array)))
    return GoodImages(array, names, parts or names, tuple(map(pixel_hash, array)))


ALL = good(images(40), name="old")


def of_use(use):
    known = set(fitted().record.manifest["data"][use])
    return ALL.take([i for i, digest in enumerate(ALL.hashes) if digest in known])


def add(more=MORE, detector=None, **options):
    more = more if isinstance(more, GoodImages) else good(more)
    options = {"parent": "f" * 64, "calibration": ALL, "say": lambda text: None} | options
    return add_images(detector or fitted(), more, **options)


def remove(detector, taken, **options):
    options = {"parent": "e" * 64, "calibration": ALL, "say": lambda text: None} | options
    return remove_images(detector, taken if isinstance(taken, GoodImages) else good(taken), **options)


def arrays(detector):
    tree = {"variables": detector.variables, "calibration": detector.record.calibration._asdict()}
    return {"/".join(k): np.asarray(v) for k, v in flax.traverse_util.flatten_dict(tree).items()}


def assert_same(a, b):
    a, b = arrays(a), arrays(b)
    assert a.keys() == b.keys()
    for name in a:
        np.testing.assert_array_equal(a[name], b[name], err_msg=name)


@pytest.mark.slow
@pytest.mark.parametrize("coreset", ["k_center", "random"])
def test_the_bank_grows_in_proportion_and_what_was_there_stays(coreset):
    old = fitted(coreset)
    new = add(detector=old)
    before, after = old.variables["banks"]["0"], new.variables["banks"]["0"]
    assert len(before["rows"]) == 63, "three rows an image"
    assert len(after["rows"]) == 63 + 7 * 3
    np.testing.assert_array_equal(after["rows"][:63], before["rows"])
    assert set(np.asarray(after["owners"][63:])) <= set(range(21, 28))
    assert np.unique(new.variables["parts"]).size == 28
    for name in ("references", "location", "scale"):
        np.testing.assert_equal(np.asarray(after[name]), np.asarray(before[name])) if name != "references" else None
    for k in ("1", "2"):
        np.testing.assert_array_equal(after["references"][k], before["references"][k])
        for name in ("barycentre", "spread"):
            np.testing.assert_array_equal(new.variables["drift"][name][k], old.variables["drift"][name][k])


def test_rows_added_at_once_are_as_many_as_rows_added_one_by_one():
    assert grown_rows(4000, 200, 20, total=10**6) == 400
    assert sum(grown_rows(4000 + 20 * i, 200 + i, 1, total=10**6) for i in range(20)) == 400
    assert grown_rows(3, 200, 1, total=10**6) == 1
    assert grown_rows(21 * 16, 21, 2, total=32) == 32, "all patches, where all are in the bank"


def test_new_rows_are_the_farthest_ones_first():
    rng = np.random.default_rng(0)
    known, points = rng.normal(size=(5, 3)).astype(np.float32), rng.normal(size=(40, 3)).astype(np.float32)
    chosen, there = [], list(known)
    for _ in range(6):
        far = [min(np.sum((p - k) ** 2) for k in there) for p in points]
        chosen.append(int(np.argmax(far)))
        there.append(points[chosen[-1]])
    np.testing.assert_array_equal(k_center_beyond(points, known, k=6), chosen)
    same = np.zeros((4, 3), np.float32)
    assert sorted(np.asarray(k_center_beyond(same, same, k=4))) == [0, 1, 2, 3], "each once, though all are equal"


@pytest.mark.slow
def test_what_was_added_is_known():
    all_rows = make_method(rows=4000)
    detector, _ = fit_bank(images(40), all_rows)
    odd = np.full((1, 32, 32, 3), 30, np.uint8)
    odd[:, 8:16, 8:16] = 255
    new = add(odd, detector)
    assert detector(odd).score[0] > 10 * new(odd).score[0]
    ranked = predict_as_new(new, good(np.concatenate([MORE, odd])))
    assert ranked.score.argmax() == 7, "and still the most unusual where its own patches are left out"


@pytest.mark.slow
def test_the_record_says_where_it_comes_from():
    new = add(reason="another lot")
    data, parent = new.record.manifest["data"], new.record.manifest["parent"]
    assert data["added"] == [pixel_hash(image) for image in MORE]
    assert data["fit"] == [*fitted().record.manifest["data"]["fit"], *data["added"]]
    assert data["calibration"] == fitted().record.manifest["data"]["calibration"]
    assert (parent["sha256"], parent["change"], parent["reason"]) == ("f" * 64, "7 images added", "another lot")
    assert "; 7 images added 20" in repr(new)
    assert new.record.rules == fitted().record.rules
    assert not np.array_equal(new.record.calibration.score, fitted().record.calibration.score)
    twice = add(images(2, seed=5), new)
    assert twice.record.manifest["parent"]["parent"] == parent


@pytest.mark.slow
def test_the_same_call_ends_in_the_same_bits(tmp_path):
    for name in ("a.gnl", "b.gnl"):
        save(add(), tmp_path / name)
    a, b = (read_container(tmp_path / name) for name in ("a.gnl", "b.gnl"))
    assert a.arrays.keys() == b.arrays.keys()
    assert all(np.array_equal(a.arrays[name], b.arrays[name]) for name in a.arrays)
    method = make_method(rows=63, coreset="k_center")
    loaded = load(tmp_path / "a.gnl", method=method)
    assert_same(add(images(2, seed=5), loaded), add(images(2, seed=5), add()))


@pytest.mark.slow
def test_added_images_can_be_taken_back():
    new = add()
    assert_same(remove(new, MORE), fitted())
    some = remove(new, MORE[[0, 3]])
    assert len(some.record.manifest["data"]["fit"]) == 26
    owners = np.asarray(some.variables["banks"]["0"]["owners"])
    assert owners.max() == 25
    digests = some.record.manifest["data"]["fit"]
    assert digests[21:] == [pixel_hash(MORE[i]) for i in (1, 2, 4, 5, 6)]
    kept = np.asarray(new.variables["banks"]["0"]["owners"])
    kept = kept[~np.isin(kept, [21, 24])]
    of_new = new.record.manifest["data"]["fit"]
    assert [digests[i] for i in owners] == [of_new[i] for i in kept]


@pytest.mark.slow
def test_images_of_the_fit_can_be_taken_back_where_only_rows_came_from_them():
    with pytest.raises(ValueError, match=r"1 of 1 shaped the reference of matching, so .* new fit is needed .*: 'old"):
        remove(fitted(), of_use("fit").take([2]))
    plain, _ = fit_bank(images(40), make_method("none", rows=63))
    fewer = remove(plain, of_use("fit").take([0, 1]))
    assert len(fewer.record.manifest["data"]["fit"]) == 19
    assert len(fewer.variables["banks"]["0"]["rows"]) < 63
    with pytest.raises(ValueError, match="expected some that stay"):
        remove(plain, of_use("fit"))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: add(np.concatenate([MORE, MORE[:1]])), "1 of 8 are copies of others among them: 'new 7'"),
        (lambda: add(of_use("fit").take([3])), "1 of 1 have been learned from already: 'old"),
        (lambda: add(of_use("calibration").take([0, 1])), "2 of 2 calibrate the detector: 'old"),
        (lambda: add(calibration=of_use("fit")), "got 0 of the 19 images that calibrate the detector among 21"),
        (lambda: add(calibration=ALL._replace(parts=("one",) * 40)), "got images of 1 parts, expected 19 as before"),
        (
            lambda: add(good(MORE, parts=of_use("calibration").parts[:7]), group_by="(.*)"),
            "7 of 7 show parts that calibrate: 'new 0', .* and 2 more",
        ),
        (
            lambda: add(calibration=None),
            "of 7 parts, expected at least 20, 19 of them set aside .*--calibration-images",
        ),
        (lambda: remove(fitted(), of_use("calibration").take([0])), "calibrate the detector: 'old"),
        (lambda: remove(fitted(), MORE), "7 of 7 were not learned from"),
        (lambda: remove(add(), MORE, calibration=None), "expected the 19 that calibrate .*--calibration-images FOLDER"),
        (lambda: add(detector=dataclasses.replace(fitted(), method=TINY)), "method 'tiny', expected a memory bank"),
    ],
)
def test_what_is_refused_is_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()


@pytest.mark.slow
def test_some_of_the_new_parts_can_calibrate():
    more, said = good(images(60, seed=2), parts=tuple(f"part {i // 2}" for i in range(60))), []
    new = add(more, calibration=None, say=said.append)
    data = new.record.manifest["data"]
    assert len(data["added"]) == 2 * 11
    assert len(data["calibration"]) == 2 * 19
    assert len(new.record.calibration.score) == 19
    assert not set(data["added"]) & set(data["calibration"])
    assert "38 of 60 images are set aside to calibrate, instead of those before" in said
    with pytest.raises(RateError, match="5 % takes at least 19 calibration images"):
        add(more, calibration=None, count=9)
    assert add(more, calibration=None, count=9, review=Fraction(1, 10)).record.rules.review.n == 9


def test_a_recalibrated_detector_keeps_the_drift_it_was_recalibrated_to():
    new = recalibrate(fitted(), good(images(40, seed=8)), parent="a", condition="night", say=lambda text: None).detector
    was, now = (detector.variables["drift"]["barycentre"]["1"] for detector in (fitted(), new))
    assert (np.asarray(was) != np.asarray(now)).any()
    assert len(new.record.manifest["data"]["drift_reference"]) == 20
    grown = add(detector=new, calibration=good(images(40, seed=8)))
    assert len(grown.record.calibration.drift) == 20
    np.testing.assert_array_equal(
        grown.variables["drift"]["barycentre"]["1"], new.variables["drift"]["barycentre"]["1"]
    )
    np.testing.assert_array_equal(grown.record.calibration.drift, new.record.calibration.drift)


@pytest.mark.parametrize("n", [1, pytest.param(2, marks=pytest.mark.slow), pytest.param(17, marks=pytest.mark.slow)])
def test_few_images_rank_and_nothing_is_decided(n, tmp_path):
    method = make_method()
    detector, said = fit_bank(images(n), method)
    assert f"no rate can be guaranteed from {n} images" in said[0]
    assert len(detector.record.manifest["data"]["fit"]) == n
    save(detector, tmp_path / "few.gnl")
    detector = load(tmp_path / "few.gnl", method=method)
    odd = MORE.copy()
    odd[4, 8:20, 8:20] = 255
    prediction = detector(odd)
    assert prediction.score.argmax() == 4
    assert {(d.decision, d.p_value) for d in detector.decide(prediction)} == {("", None)}
    between = np.sort(prediction.score)[-2:].mean()
    decided = dataclasses.replace(detector, record=detector.record.with_threshold(between))
    assert [d.decision for d in decided.decide(prediction)] == ["OK"] * 4 + ["NG"] + ["OK"] * 2
    assert f"guaranteed from {n} images" in repr(detector)


def test_eighteen_images_are_enough_for_a_rate_and_a_rate_that_is_asked_for_is_refused():
    assert fit_bank(images(18), make_method())[0].record.rules.review.n == 9
    with pytest.raises(RateError, match="expected at least 18"):
        fit_bank(images(12), make_method(), review="10%")
    with pytest.raises(RateError, match="expected at least 18"):
        fit(images(12), set_method(config(), "gnl"))


@pytest.mark.slow
def test_without_a_rate_export_and_shift_refuse_and_recalibration_gives_one(tmp_path):
    detector, _ = fit_bank(images(12), make_method())
    with pytest.raises(ValueError, match="states no false-alarm rate"):
        export_detector(detector, tmp_path / "e.gnlx", images=list(MORE))
    options = ShiftOptions(("jpeg",), (1,), 5, 5)
    with pytest.raises(ValueError, match="states no false-alarm rate"):
        shift_report(detector, good="nowhere", options=options, limits=make_limits(Fraction(1, 20)))
    with pytest.raises(ValueError, match="calibration images set this detector's thresholds"):
        fitted().record.with_threshold(1.0)
    with pytest.raises(ValueError, match="threshold: got nan"):
        detector.record.with_threshold(float("nan"))
    new = recalibrate(detector, good(images(19, seed=9)), parent="a", condition="more", say=lambda text: None)
    assert new.detector.record.rules.review.n == 19
    assert not new.may_be_blind
    again = recalibrate(new.detector, good(images(19, seed=10)), parent="b", condition="more", say=lambda text: None)
    assert again.detector.record.manifest["clean_maximum"] == new.detector.record.calibration.score[-1]


@pytest.mark.slow
def test_few_images_grow_until_some_can_calibrate():
    said = []
    detector, _ = fit_bank(images(6), make_method())
    grown = add(MORE, detector, calibration=None, say=said.append)
    assert grown.record.rules.review is None
    assert len(grown.record.manifest["data"]["fit"]) == 13
    assert any("no rate can be guaranteed" in text for text in said)
    calibrated = add(images(19, seed=3), grown, calibration=None)
    assert calibrated.record.rules.review.n == 9
    fewer = remove(grown, MORE[:2], calibration=None)
    assert len(fewer.record.manifest["data"]["fit"]) == 11
    with pytest.raises(ValueError, match="no image calibrates this detector"):
        add(images(2, seed=5), grown)


@pytest.mark.slow
def test_both_matchings_and_the_region_learn():
    """As `gnl-jax fit` makes it, from a configuration, and only where it looks."""
    bank = set_method(config(), "matched_bank")
    bank.eval.anchor, bank.method.memory_bank.views = "barycentre", ()
    options = FitOptions(region=Region(roi=(0, 0, 32, 16)))
    detector = fit(images(20), bank, options=options, say=lambda text: None)
    assert len(detector.record.matchings) == 2
    old = good(images(20))
    below = MORE.copy()
    below[:, 16:] = 255
    one, other = (add(array, detector, calibration=old) for array in (MORE, below))
    assert_same(one, other)
    n = len(detector.record.manifest["data"]["fit"])
    for kind, extras in one.record.matchings.items():
        before = detector.record.matchings[kind]["banks"]["0"]
        assert len(extras["banks"]["0"]["rows"]) == len(before["rows"]) * (n + 7) // n
    assert len(shared_variables(one)["parts"]) == n + 7
    assert_same(remove(one, MORE, calibration=old), detector)


@pytest.mark.slow
def test_the_commands(tmp_path, monkeypatch, capsys):
    method = make_method(rows=63, coreset="k_center")
    monkeypatch.setattr(artifact, "load", functools.partial(load, method=method))
    write_images(tmp_path / "good", images(40))
    more = write_images(tmp_path / "more", MORE)
    detector, _ = fit_bank(str(tmp_path / "good"), method)
    old, new, back = (str(tmp_path / name) for name in ("old.gnl", "new.gnl", "back.gnl"))
    save(detector, old)
    before = (tmp_path / "old.gnl").read_bytes()
    command = ["add", old, "--good", str(tmp_path / "more"), "--out"]
    assert status([*command, new]) == 2, "seven parts are too few to set some aside"
    assert "--calibration-images FOLDER" in capsys.readouterr().err
    assert not (tmp_path / "new.gnl").exists()
    known = ["--calibration-images", str(tmp_path / "good")]
    assert status([*command, old, *known]) == 2
    assert status([*command, new, *known, "--ng", "1%"]) == 2
    assert status([*command, new, *known]) == 0
    assert "7 images are added to 21" in capsys.readouterr().out
    assert status([*command, new, *known]) == 0, "the old file still knows none of them"
    assert status(["add", new, "--good", str(tmp_path / "more"), "--out", back, *known]) == 1
    assert "learned from already: '000.png'" in capsys.readouterr().err
    assert status(["remove", new, "--images", *map(str, more[:3]), "--out", back, *known, "--reason", "bad"]) == 0
    assert len(artifact.load(back).record.manifest["data"]["fit"]) == 25
    assert (tmp_path / "old.gnl").read_bytes() == before
    assert status(["info", back]) == 0
    said = capsys.readouterr().out
    assert "3 images removed 20" in said
    assert "7 images added 20" in said


@pytest.mark.slow
def test_score_says_why_nothing_is_decided(tmp_path, monkeypatch, capsys):
    method = make_method()
    monkeypatch.setattr(artifact, "load", functools.partial(load, method=method))
    write_images(tmp_path / "good", images(5))
    file, inputs = str(tmp_path / "few.gnl"), [str(p) for p in write_images(tmp_path / "new", MORE[:2])]
    save(fit_bank(str(tmp_path / "good"), method)[0], file)
    assert status(["score", file, *inputs, "--overlays", str(tmp_path / "maps")]) == 0
    said = capsys.readouterr()
    assert [line.split(",")[1:3] for line in said.out.splitlines()[1:]] == [["", ""]] * 2
    assert "no rate can be guaranteed from 5 images; --threshold SCORE decides" in said.err
    assert len(list((tmp_path / "maps").iterdir())) == 2
    assert status(["score", file, *inputs, "--fail-on", "ng"]) == 2, "never a silent pass"
    assert status(["score", file, *inputs, "--fail-on", "ng", "--threshold", "0"]) == 10
    assert status(["score", file, *inputs, "--fail-on", "ng", "--threshold", "1e9"]) == 0
