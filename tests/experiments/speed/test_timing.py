"""Table 7's measurements: what is timed, and what an epoch is made of; the programs themselves are `make speed`'s."""

import jax
import jax.numpy as jnp
import pytest

from experiments.speed import timing
from experiments.speed.timing import Case, median_seconds, model_flop, time_epochs


def test_an_epoch_is_its_batches_and_inference_is_one_image(monkeypatch):
    asked = []

    def make_programs(config, *, score_batch):
        asked.append((config.method.name, tuple(config.method.views), score_batch))
        assert (config.teacher.arch, config.dataset.size, config.train.batch_size) == ("resnet18", 64, 16)
        scale = {"rd4ad": 1, "gnl": 10}[config.method.name]
        return timing.Programs(2 * scale, 3 * scale, 5 * scale, 0.0, (), ())

    monkeypatch.setattr(timing, "make_programs", make_programs)
    monkeypatch.setattr(timing, "median_seconds", lambda program, seconds: program)
    seconds = time_epochs(Case("resnet18", 64, 16), images=170)
    assert asked == [("rd4ad", ("clean",), 1), ("gnl", ("clean", "augmix", "grey"), 1)]
    assert seconds == {
        ("rd4ad", "training"): 2 * 11,  # ten whole batches and one of ten images
        ("rd4ad", "inference"): 3,  # without matching
        ("gnl", "training"): 20 * 11,
        ("gnl", "inference"): 50,  # with
    }
    assert time_epochs(Case("resnet18", 64, 16), images=16)["rd4ad", "training"] == 2
    with pytest.raises(ValueError, match="images: got 0, expected 1 or more"):
        time_epochs(Case("resnet18", 64, 16), images=0)


def test_the_median_leaves_out_the_first_call(monkeypatch):
    durations = iter([100, 1, 9, 2])
    clock = [0.0]
    monkeypatch.setattr(timing.time, "perf_counter", lambda: clock[0])

    def call():
        clock[0] += next(durations)

    assert median_seconds(call, seconds=0.0, least=3) == 2


def test_flop_of_a_product():
    assert model_flop(jax.jit(lambda a, b: a @ b), jnp.ones((8, 32)), jnp.ones((32, 16))) == 2 * 8 * 32 * 16


def test_a_case_by_its_name():
    assert Case.parse("wide_resnet50_2/256/2") == Case("wide_resnet50_2", 256, 2)
    for wrong in ("resnet18", "resnet18/32", "resnet18/32/0", "resnet18/32/16/1", "resnet18/32/-1"):
        with pytest.raises(ValueError, match=f"case: got '{wrong}', expected ARCHITECTURE/SIZE/BATCH"):
            Case.parse(wrong)
