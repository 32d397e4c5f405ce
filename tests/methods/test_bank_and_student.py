"""A bank and a student: each map as it is alone, standardised by what the good images score, added."""

import flax.linen as nn
import jax
import numpy as np
import pytest
from small_banks import MATCHED, PLAIN, TEACHER, VARIABLES, fitted, make, pictures, preprocess, score

from gnl_jax.config import default_config, set_method
from gnl_jax.deploy.onnx.model import check_exportable
from gnl_jax.detection.artifact import load, save
from gnl_jax.detection.detector import predict
from gnl_jax.detection.fit import fit
from gnl_jax.detection.fit_training import _schedule
from gnl_jax.detection.learn_more import add_images
from gnl_jax.detection.options import FitOptions
from gnl_jax.detection.parts import good_images
from gnl_jax.methods import bank_and_student as joint
from gnl_jax.methods.bank_options import BankOptions, parse_sizes
from gnl_jax.methods.base import GroupedImages, Method
from gnl_jax.methods.build import build_method
from gnl_jax.methods.reverse_distillation import Model
from gnl_jax.methods.scoring import match_hook
from gnl_jax.ops.scoremap import score_map


class TinyStudent(nn.Module):
    """Each stage from itself, by a random matrix."""

    @nn.compact
    def __call__(self, stages, valid=None):
        return stages[-1], tuple(nn.Dense(stage.shape[-1])(stage) for stage in stages)


MODEL = Model(TEACHER, TinyStudent())
GOOD, TEST = pictures(6), pictures(3, seed=1)
PARTS = ["a", "a", "b", "c", "d", "e"]
STUDENT = jax.jit(MODEL.student.init)(jax.random.key(2), TEACHER.apply(VARIABLES, preprocess(GOOD)))
LEARNED = Method("student", VARIABLES, (), lambda frozen, state, images: {"student": STUDENT}, lambda *_: None)
OPTIONS = BankOptions(rows=50, matched=(1, 2, 3))


def together(scoring, options=OPTIONS):
    return joint.bank_and_student(LEARNED, MODEL, options=options, scoring=scoring, preprocess=preprocess)


def student_map(images, references, alpha):
    """Stages 1 and 2 matched, stage 3 as they make it: reverse distillation's own score map."""
    hook = None
    if references:
        hook = match_hook((references["1"], references["2"]), matching="efdm", alpha=alpha)
    stages = TEACHER.apply(VARIABLES, preprocess(images), hook)
    return np.asarray(score_map(stages, MODEL.student.apply(STUDENT, stages)[1], size=(32, 32)))


@pytest.mark.slow
@pytest.mark.slow
@pytest.mark.parametrize("scoring", [pytest.param(PLAIN, marks=pytest.mark.slow), MATCHED])
def test_the_two_maps_standardised_and_added(scoring):
    both, bank = together(scoring), make(OPTIONS, scoring)
    good = GroupedImages(GOOD, PARTS)
    variables, alone = fitted(both, good), fitted(bank, good)
    jax.tree.map(np.testing.assert_array_equal, variables["banks"], alone["banks"])
    references = alone["banks"]["0"].get("references", {})
    as_new = score(bank, alone, GOOD, alone["parts"]).score
    of_student = student_map(GOOD, references, scoring.alpha).max((1, 2))
    total, found = 0, score(both, variables, TEST)
    for name, scores, maps in (
        ("bank", as_new, score(bank, alone, TEST).map),
        ("student", of_student, student_map(TEST, references, scoring.alpha)),
    ):
        scale = variables["scales"][name]
        assert scale["location"] == pytest.approx(scores.mean(), rel=1e-3)
        assert scale["scale"] == pytest.approx(scores.std(), rel=1e-2)
        total = total + (maps - float(scale["location"])) / float(scale["scale"])
    np.testing.assert_allclose(found.map, total, atol=2e-3 * np.abs(total).max())
    np.testing.assert_allclose(found.score, found.map.max((1, 2)), rtol=1e-6)
    np.testing.assert_allclose(found.drift, score(bank, alone, TEST).drift, rtol=1e-5)


@pytest.mark.slow
def test_an_own_part_is_left_out_and_outside_a_region_nothing_counts():
    method = together(MATCHED)
    variables = fitted(method, GOOD)
    assert score(method, variables, GOOD, variables["parts"]).score.mean() > score(method, variables, GOOD).score.mean()
    region = np.zeros((32, 32), bool)
    region[:, :12] = True
    other = TEST.copy()
    other[:, :, 12:] = 255 - other[:, :, 12:]
    found, changed = (score(method, {**variables, "region": region}, images) for images in (TEST, other))
    np.testing.assert_array_equal(found.map, changed.map)
    assert np.all(found.map[:, ~region] <= found.map.min((1, 2))[:, None])


def test_what_cannot_be_added():
    with pytest.raises(ValueError, match="images: got one part alone, expected two or more"):
        fitted(together(PLAIN), GroupedImages(GOOD, ["a"] * 6))
    for changes, message in (
        ({"score": "patches"}, "got embedding 'patches' and score 'patches', expected 'patches' and 'map'"),
        ({"embedding": "pooled"}, "got embedding 'pooled' and score 'map'"),
        ({"sizes": parse_sizes(["1/2:2"], size=64)}, "expected one of the whole side"),
    ):
        with pytest.raises(ValueError, match=message):
            together(PLAIN, OPTIONS._replace(**changes))


@pytest.mark.slow
def test_from_images_to_a_file(tmp_path):
    """ResNet-18's student, two steps of it; ONNX and more images are refused by name."""
    config = set_method(default_config(), "bank_and_student", like="mvtec")
    config.teacher.weights, config.dataset.cache, config.train.max_steps = "random", "", 2
    config.eval.batch_size, config.method.memory_bank.rows = 8, 60.0
    images, said = pictures(40), []
    detector = fit(images, config, options=FitOptions(epochs=1), say=said.append)
    assert any("training: 1 epochs" in words for words in said)
    record = detector.require_record()
    assert record.manifest["made"]["steps"] == 2
    assert set(record.matchings) == {"efdm", "none"}
    assert all(matching["scales"].keys() == {"bank", "student"} for matching in record.matchings.values())
    save(detector, tmp_path / "both.gnl")
    again = load(tmp_path / "both.gnl")
    for a, b in zip(predict(detector, TEST), predict(again, TEST)):
        np.testing.assert_array_equal(a, b)
    assert again.inspect(TEST[2]).decision in ("OK", "REVIEW", "NG")
    with pytest.raises(ValueError, match=r"detector: got method\.system 'bank_and_student', expected"):
        check_exportable(detector)
    with pytest.raises(ValueError, match="got one of method 'bank_and_student', expected a memory bank"):
        add_images(detector, good_images(pictures(20, seed=7), config.dataset), parent="0" * 64)


def test_the_named_configuration_trains_a_student_alone(tmp_path):
    config = set_method(default_config(), "bank_and_student")
    method = build_method(config, matching="efdm", frozen=VARIABLES)
    assert [(phase.name, phase.epochs) for phase in method.phases] == [("distillation", 20)]
    assert config.method.views == ("clean",)
    said = []
    _schedule(config, FitOptions(), GOOD[:4], tmp_path, said.append)
    assert config.train.max_steps == 300
    assert said[0].endswith(", at most 300 steps")
    assert _schedule(config, FitOptions(epochs=50), GOOD[:4], tmp_path, print).train.epochs == 50
    assert config.train.max_steps == 0  # epochs that are requested are whole
    assert _schedule(config, FitOptions(), GOOD[:4], tmp_path, print).train.epochs == 400
    assert method.own == ("banks", "alpha", "pixels", "scales")
    assert method.add is None
