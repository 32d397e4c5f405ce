"""From good images to decisions: who trains, who calibrates, what is kept, what is refused before training."""

import dataclasses
from fractions import Fraction

import numpy as np
import pytest
import safetensors.numpy
from fitted import ARCH, config, digits, fitted
from PIL import Image

import gnl_jax
from gnl_jax.config import set_method
from gnl_jax.config_io import save_config
from gnl_jax.detection.artifact import load, save, use_matching
from gnl_jax.detection.container import ArtifactError, read_container, write_container
from gnl_jax.detection.fit import fit
from gnl_jax.detection.options import FitOptions
from gnl_jax.detection.region import Region
from gnl_jax.detection.threshold import RateError
from gnl_jax.nn.published import PARTS
from gnl_jax.nn.torch_keys import to_torch

pytestmark = [pytest.mark.usefixtures("small_network"), pytest.mark.xdist_group("fitted")]


def test_it_tells_defects_from_good_parts():
    detector, _ = fitted()
    good, bad = detector(digits()[1]), detector(digits()[2][:100])
    assert np.mean(bad.score[:, None] > good.score[None]) > 0.9
    assert good.drift.shape == good.score.shape


def test_it_says_what_it_chose():
    detector, said = fitted()
    assert said[0] == "60 good images: 41 to learn from, 19 to calibrate"
    assert any(text.startswith("REVIEW: false alarms 5 % on average") for text in said)
    assert any("nothing is rejected (NG): 1 % takes 99 calibration images, got 19" in text for text in said)
    assert detector.record.rules.ng is None
    assert any(text.endswith(f"{ARCH} at 32x32, batches of 14") for text in said), "three steps, evenly filled"


def test_the_size_may_be_given_beside_the_configuration():
    with pytest.raises(ValueError, match=r"dataset\.size: got 40, expected a multiple of 32"):
        fit(list(digits()[0]), config(), size=40)


def test_no_image_trains_and_calibrates():
    data = fitted()[0].record.manifest["data"]
    assert len(data["fit"]) == 41
    assert len(data["calibration"]) == 19
    assert not set(data["fit"]) & set(data["calibration"])


@pytest.mark.slow
def test_a_saved_detector_scores_to_the_last_bit_as_it_did(tmp_path):
    detector, _ = fitted()
    save(detector, tmp_path / "zero.gnl")
    loaded = load(tmp_path / "zero.gnl")
    for matching in ("efdm", "none"):
        before, after = (use_matching(d, matching) for d in (detector, loaded))
        a, b = before(digits()[1][:9]), after(digits()[1][:9])
        for x, y in zip(a, b):
            np.testing.assert_array_equal(x, y)
        assert before.decide(a) == after.decide(b)
    assert loaded.record.manifest == {**detector.record.manifest, "kind": "detector"}


def test_a_detector_without_matching_is_saved_as_such(tmp_path):
    """With a probe of its own: that of the other matching would refuse it."""
    save(use_matching(fitted()[0], "none"), tmp_path / "none.gnl")
    loaded = load(tmp_path / "none.gnl")
    assert loaded.record.matching == "none"
    np.testing.assert_array_equal(
        loaded(digits()[1][:3]).score, use_matching(fitted()[0], "none")(digits()[1][:3]).score
    )


def test_both_matchings_are_calibrated_and_differ():
    scores = [fitted()[0].record.calibrations[kind].score for kind in ("efdm", "none")]
    assert [len(s) for s in scores] == [19, 19]
    assert not np.array_equal(*scores)


def test_a_device_that_scores_otherwise_is_refused(tmp_path):
    save(fitted()[0], tmp_path / "zero.gnl")
    container = read_container(tmp_path / "zero.gnl")
    container.manifest["probe"]["score"] *= 1.001
    write_container(tmp_path / "other.gnl", container)
    with pytest.raises(ArtifactError, match=r"other.gnl: on this device the probe image has score"):
        load(tmp_path / "other.gnl")
    load(tmp_path / "other.gnl", verify=False)


@pytest.mark.slow
def test_fitting_again_gives_the_same_bits():
    again = gnl_jax.fit(digits()[0], config(), options=FitOptions(epochs=4))
    np.testing.assert_array_equal(again.record.calibration.score, fitted()[0].record.calibration.score)
    np.testing.assert_array_equal(again.record.calibration.drift, fitted()[0].record.calibration.drift)


@pytest.mark.slow
def test_a_student_of_elsewhere_takes_the_place_of_training(tmp_path):
    """The trained student, written as the published code would: the same scores to the last bit."""
    student, tensors = fitted()[0].variables["student"], {}
    for part, prefix in PARTS.items():
        of_part = {collection: student[collection][part] for collection in ("params", "batch_stats")}
        tensors |= {f"{prefix}.{key}": value for key, value in to_torch(of_part).items()}
    (tmp_path / "student.safetensors").write_bytes(safetensors.numpy.save(tensors))
    again = fit(digits()[0], config(), options=FitOptions(student=str(tmp_path / "student.safetensors")))
    np.testing.assert_array_equal(again.record.calibration.score, fitted()[0].record.calibration.score)
    assert again.record.manifest["made"]["steps"] == 0


def test_a_memory_bank_has_no_student():
    bank = set_method(config(), "matched_bank")
    with pytest.raises(ValueError, match=r"student: got 'student\.pth', expected none: matched_bank has no student"):
        fit(digits()[0], bank, options=FitOptions(student="student.pth"))


@pytest.mark.slow
def test_outside_the_region_nothing_counts(tmp_path):
    mask = np.zeros((32, 32), np.uint8)
    mask[:, :20] = 255
    Image.fromarray(mask).save(tmp_path / "mask.png")
    options = FitOptions(epochs=1, region=Region(mask=tmp_path / "mask.png"))
    detector = fit(digits()[0], config(), options=options)
    images = digits()[1][:8]
    changed = images.copy()
    changed[:, :, 20:] = np.random.default_rng(0).integers(0, 256, changed[:, :, 20:].shape)
    for x, y in zip(detector(images), detector(changed)):
        np.testing.assert_array_equal(x, y)
    assert not detector(images).map[:, :, 20:].any()
    changed[:, :, 19] ^= 255
    assert (detector(images).score != detector(changed).score).any()


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        (
            {"ng": Fraction(1, 1000)},
            ValueError,
            "got good images of 60 parts, expected at least 1008: 999 to calibrate",
        ),
        ({"calibration": 20, "ng": Fraction(1, 100)}, RateError, "1 % takes at least 99 calibration images .* got 20"),
        ({"calibration": 20, "review": Fraction(1, 50)}, RateError, "2 % takes at least 49"),
        ({"calibration": 8}, ValueError, "calibration: got 8, expected at least 9"),
        ({"exclude": ("image 99",)}, ValueError, "exclude: 'image 99' is not among the 60 images"),
        ({"group_by": "(x"}, ValueError, "group_by: .* no regular expression"),
        ({"group_by": "part"}, ValueError, "group_by: 'part' does not match 'image 0'"),
    ],
)
def test_what_cannot_be_promised_is_refused_before_training(options, error, message, monkeypatch):
    monkeypatch.setattr("gnl_jax.detection.fit_training.train", lambda *_, **__: pytest.fail("it trained"))
    with pytest.raises(error, match=message):
        fit(digits()[0], config(), options=FitOptions(**options))


def test_missing_teacher_weights_are_refused_before_an_image_is_read(monkeypatch):
    monkeypatch.delenv("GNL_JAX_TEACHER", raising=False)
    monkeypatch.setattr("gnl_jax.detection.fit.good_images", lambda *_, **__: pytest.fail("it read images"))
    missing = config()
    missing.teacher.arch, missing.teacher.weights = "resnet50", ""
    with pytest.raises(ValueError, match=r"teacher\.weights: got nothing for resnet50"):
        fit(digits()[0], missing)
    missing.teacher.weights = "/no/such/file.safetensors"
    with pytest.raises(ValueError, match="no such file"):
        fit(digits()[0], missing)


def test_training_goes_on_only_with_the_same_images(tmp_path, monkeypatch):
    def stop(config, folder, **_):
        save_config(folder, config)
        raise KeyboardInterrupt

    monkeypatch.setattr("gnl_jax.detection.fit_training.train", stop)
    with pytest.raises(KeyboardInterrupt):
        fit(digits()[0], config(), workdir=tmp_path)
    with pytest.raises(ValueError, match=r"begun there with other images \(41 images and now has 40: "):
        fit(digits()[0][1:], config(), workdir=tmp_path)
    other = config()
    other.dataset.size = 64
    with pytest.raises(ValueError, match="begun there with size 32 and now has 64"):
        fit(digits()[0].repeat(2, axis=1).repeat(2, axis=2), other, workdir=tmp_path)
    with pytest.raises(ValueError, match=r"with no region and now has roi \(0, 0, 20, 20\)"):
        fit(digits()[0], config(), workdir=tmp_path, options=FitOptions(region=Region(roi=(0, 0, 20, 20))))
    other = config()
    other.seed = 5
    with pytest.raises(ValueError, match="with seed 0 and now has 5"):
        fit(digits()[0], other, workdir=tmp_path)
    said = []
    with pytest.raises(KeyboardInterrupt):
        fit(digits()[0], config(), workdir=tmp_path, say=said.append)
    assert f"training resumes in {tmp_path}" in said


def test_a_folder_of_something_else_is_left_alone(tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(ValueError, match="a folder of something else"):
        fit(digits()[0], config(), workdir=tmp_path)


def test_a_detector_of_an_evaluation_does_not_decide():
    bare = dataclasses.replace(fitted()[0], record=None)
    with pytest.raises(ValueError, match="not calibrated"):
        bare.decide(bare(np.zeros((1, 32, 32, 3), np.uint8)))
