"""From a configuration to a method: every wrong value is refused by name, before any file is touched."""

import re

import jax
import numpy as np
import pytest

from gnl_jax.config import METHODS, default_config, set_method
from gnl_jax.methods.bank_method import bank_options
from gnl_jax.methods.build import build_method, matmul_precision
from gnl_jax.methods.options import augmix_options
from gnl_jax.nn.teachers import teacher_record

NO_TEACHER = {"params": {}, "batch_stats": {}}


# Phases of the systems that do not distil in reverse, with the settings for MNIST: (name, epochs, batch size).
OTHERS = {
    "kdad": [("distillation", 52, 64)],
    "deep_svdd": [("autoencoder", 150, 200), ("svdd", 150, 200)],
    "f_anogan": [("wgan_gp", 200, 64), ("encoder", 200, 64)],
}
# Of images as they are: nothing is trained.
BANKS = ("patchcore", "matched_bank", "two_size_bank", "augmented_bank", "image_bank")
BANKS += ("dinov2_bank", "matched_dinov2_bank", "dinov2_image_bank")


@pytest.mark.parametrize("name", METHODS)
def test_all_methods_build(name):
    config = set_method(default_config(), name)
    method = build_method(config, frozen=NO_TEACHER)
    assert method.name == name
    phases = [(phase.name, phase.epochs, phase.batch_size) for phase in method.phases]
    expected = OTHERS | {bank: [] for bank in BANKS}
    assert phases == expected.get(name, [("distillation", 20, 16)])
    systems = {name: name for name in OTHERS} | dict.fromkeys(BANKS, "memory_bank")
    systems["bank_and_student"] = "bank_and_student"
    assert config.method.system == systems.get(name, "reverse_distillation")


@pytest.mark.parametrize(
    ("name", "sizes", "stages"),
    [
        ("patchcore", [256], [(2, 3)]),
        ("matched_bank", [256], [(2, 3)]),
        ("two_size_bank", [256, 128], [(2, 3), (3,)]),
    ],
)
def test_what_a_named_bank_sees(name, sizes, stages):
    config = set_method(default_config(), name, like="mvtec")
    chosen = bank_options(config.method.memory_bank, teacher_record("resnet18"), size=256).sizes
    assert [spec.side(256) for spec in chosen] == sizes
    assert [spec.stages for spec in chosen] == stages


@pytest.mark.parametrize("name", ["gnl", "jigsaw", *OTHERS])
def test_shapes_of_a_state_need_no_images(name):
    """A trained run is restored without its training images and without the state of the phase before."""
    config = set_method(default_config(), name)
    method = build_method(config, frozen=NO_TEACHER)
    images = np.random.default_rng(0).integers(0, 256, (3, config.dataset.size, config.dataset.size, 3), np.uint8)
    for phase in method.phases:
        without = jax.eval_shape(lambda phase=phase: phase.init(jax.random.key(0), None, None))
        with_images = jax.eval_shape(lambda phase=phase: phase.init(jax.random.key(0), None, images))
        assert without == with_images


@pytest.mark.parametrize("name", OTHERS)
def test_other_systems_have_no_matching(name):
    with pytest.raises(ValueError, match=f"eval.matching: got 'efdm', expected 'none': {name} has no features"):
        build_method(set_method(default_config(), name), matching="efdm", frozen=NO_TEACHER)


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("precision", "fp8", "precision: got 'fp8', expected one of float32, tf32, bfloat16"),
        ("seed", -1, "seed: got -1, expected 0 or more"),
        ("teacher.arch", "vgg", "teacher.arch: got 'vgg', expected one of resnet18, resnet50, wide_resnet50_2"),
        ("teacher.seed", -1, "teacher.seed: got -1, expected 0 or more"),
        ("method.normalise", "x", "method.normalise: got 'x', expected one of imagenet, none"),
        ("method.views", ("clean", "gray"), "method.views: got ('clean', 'gray'), expected one or more of clean,"),
        ("method.views", (), "method.views: got (), expected one or more of clean, augmix, grey"),
        ("method.reduction", "max", "method.reduction: got 'max', expected one of sum, mean"),
        ("method.augmix.operations", "all", "method.augmix.operations: got 'all', expected one of mvtec, pacs"),
        ("method.augmix.severity", "much", "method.augmix.severity: got 'much', expected 'published' or a number"),
        ("method.augmix.severity", "11", "method.augmix.severity: expected"),
        ("method.augmix.severity", "nan", "method.augmix.severity: expected"),
        ("method.augmix.width", 0, "method.augmix.width: expected at least 1, got 0"),
        ("method.augmix.depth", -1, "method.augmix.depth: expected None or at least 1, got -1"),
        ("method.augmix.alpha", 0.0, "method.augmix.alpha: expected a positive number, got 0.0"),
        ("train.epochs", 0, "train.epochs: got 0, expected 1 or more"),
        ("train.max_steps", -1, "train.max_steps: got -1, expected 0 or more"),
        ("train.batch_size", 0, "train.batch_size: got 0, expected 1 or more"),
        ("train.learning_rate", float("nan"), "train.learning_rate: got nan, expected 0 or more"),
        ("train.beta1", 1.5, "train.beta1: got 1.5, expected 0 to 1"),
        ("train.steps_per_dispatch", -1, "train.steps_per_dispatch: got -1, expected 0 or more"),
        ("train.checkpoint_seconds", -1.0, "train.checkpoint_seconds: got -1.0, expected 0 or more"),
        (
            "eval.matching",
            ("none", "adain"),
            "eval.matching: got ('none', 'adain'), expected one or more of none, efdm",
        ),
        ("eval.matching", (), "eval.matching: got (), expected one or more of none, efdm, mixstyle, both"),
        ("eval.anchor", "last", "eval.anchor: got 'last', expected one of first, random, barycentre"),
        ("eval.anchors", 0, "eval.anchors: got 0, expected 1 or more"),
        ("eval.alpha", 1.01, "eval.alpha: got 1.01, expected 0 to 1"),
        ("eval.batch_size", 0, "eval.batch_size: got 0, expected 1 or more"),
    ],
)
def test_wrong_values(field, value, message):
    """`teacher.weights` names no file here: the fields come first."""
    config = default_config()
    config.update_from_flattened_dict({field: value, "teacher.weights": "/no/such.safetensors"})
    with pytest.raises(ValueError, match="^" + re.escape(message)):
        build_method(config)


def test_one_matching_may_be_given_as_text():
    config = default_config()
    with config.unlocked(), config.ignore_type():
        config.eval.matching = "efdm"
    build_method(config, frozen=NO_TEACHER)


def test_teacher_is_found_or_not(monkeypatch):
    monkeypatch.delenv("GNL_JAX_TEACHER", raising=False)
    config = default_config()
    assert build_method(config).frozen["params"].keys() >= {"conv1", "layer1_0", "layer3_1"}  # those in the package
    config.teacher.arch = "wide_resnet50_2"
    with pytest.raises(ValueError, match=r"teacher.weights: got nothing for wide_resnet50_2, expected 'imagenet'"):
        build_method(config)
    monkeypatch.setenv("GNL_JAX_TEACHER", "/no/such.safetensors")
    with pytest.raises(ValueError, match=r"/no/such.safetensors: No such file"):
        build_method(config)


@pytest.mark.parametrize("precision", [pytest.param("float32", marks=pytest.mark.slow), "tf32", "bfloat16"])
def test_networks_are_folded_for_scoring_but_in_full_float32(precision):
    config = set_method(default_config(), "gnl")
    config.teacher.weights, config.precision = "random", precision
    method = build_method(config)
    state = jax.eval_shape(lambda: method.phases[0].init(jax.random.key(0), None, None))
    variables = jax.eval_shape(lambda state: method.finish(method.frozen, state, None), state)
    for network in (method.frozen, variables["teacher"], variables["student"]):
        assert ("batch_stats" in network) == (precision == "float32")


def test_precision_of_products():
    config = default_config()
    found = {}
    for config.precision in ("float32", "tf32", "bfloat16"):
        found[config.precision] = matmul_precision(config)
    assert found == {"float32": "float32", "tf32": "tensorfloat32", "bfloat16": "float32"}


def test_augmix_severity_is_text():
    config = default_config().method.augmix
    assert augmix_options(config).severity == "published"
    assert augmix_options(config).depth is None
    config.update(severity="3", depth=2)
    assert augmix_options(config).severity == 3.0
    assert augmix_options(config).depth == 2


@pytest.mark.parametrize(("size", "min_valid"), [(32, 2), (64, 1)])
def test_one_image_is_too_few_only_where_maps_have_one_pixel(size, min_valid):
    config = default_config()
    config.dataset.size = size
    (phase,) = build_method(config, frozen=NO_TEACHER).phases
    assert phase.min_valid == min_valid


@pytest.mark.parametrize("name", METHODS)
def test_a_method_is_the_same_whatever_the_configuration_was_before(name):
    """`gnl-jax fit --method` names a method for a configuration that is a memory bank already."""
    for like in ("mnist", "mvtec"):
        expected = set_method(default_config(), name, like=like)
        for before in METHODS:
            config = set_method(set_method(default_config(), before, like=like), name, like=like)
            assert config.method == expected.method
            assert config.train.max_steps == expected.train.max_steps


def test_what_the_data_set_before_a_method_is_named_stays():
    config = default_config()
    config.method.normalise, config.train.max_steps = "none", 7
    set_method(config, "rd4ad")
    assert (config.method.normalise, config.train.max_steps) == ("none", 7)


@pytest.mark.parametrize(("method", "system"), [("gnl", "reverse_distillation"), ("matched_bank", "memory_bank")])
def test_the_command_fits_the_method_that_is_named(method, system):
    import argparse

    from gnl_jax.cli import fit

    parser = argparse.ArgumentParser()
    fit.add_arguments(parser)
    config = fit.configuration(parser.parse_args(["good", "--out", "x.gnl", "--method", method]))
    assert (config.method.name, config.method.system) == (method, system)
