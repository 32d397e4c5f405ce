"""A fit is planned into what is free: a smaller batch, features in every step, or a refusal with what would fit."""

import fitted
import jax
import pytest
import small_banks

from gnl_jax.config import set_method
from gnl_jax.config_io import save_config
from gnl_jax.detection import fit_memory
from gnl_jax.detection.fit import fit
from gnl_jax.detection.fit_memory import GB, Need, fit_need, planned, without_weights
from gnl_jax.detection.options import FitOptions, inspection_config
from gnl_jax.methods import bank_need, free_memory
from gnl_jax.methods.bank_options import BankOptions
from gnl_jax.training.dispatch import make_dispatch
from gnl_jax.training.memory import run_bytes


def config(method="gnl", size=512, batch=16):
    found = set_method(inspection_config(), method, like="mvtec")
    found.dataset.size, found.train.batch_size = size, batch
    return found


@pytest.fixture
def measured(monkeypatch):
    """1 GB, and 0.1 GB for each image of 256x256 of a batch; 2 GB more where features are kept."""

    def need(config, method, images):
        kept = 2 * GB if method.phases and config.train.feature_budget_mb else 0
        of_image = 0.1 * GB * (config.dataset.size / 256) ** 2
        return Need(GB + kept, of_image * (config.train.batch_size if method.phases else 8))

    monkeypatch.setattr(fit_memory, "fit_need", need)
    monkeypatch.setattr(fit_memory, "SHARE", 1)


def plan(config, free, monkeypatch, *, images=160, workdir=None, **options):
    said = []
    monkeypatch.setattr(fit_memory, "free_bytes", lambda: free * GB)
    options = FitOptions(**options)
    found = planned(config, images, options=options, workdir=workdir, method=None, say=said.append)
    return found, said[0]


def test_what_fits_stays(measured, monkeypatch):
    found, said = plan(config(), 9.5, monkeypatch)
    assert (found.train.batch_size, found.train.feature_budget_mb) == (16, 2048)
    assert said == "memory: this takes about 9.4 GB; 9.5 GB may be taken"
    _, said = plan(config(size=32), 9.5, monkeypatch)  # the program need not be looked at
    assert said.startswith("memory: this takes less than ")


def test_features_go_before_the_batch_gets_smaller(measured, monkeypatch):
    found, said = plan(config(), 8, monkeypatch)
    assert (found.train.batch_size, found.train.feature_budget_mb) == (16, 0)
    assert said.endswith("7.4 GB; 8.0 GB may be taken; features are computed in every step, to fit, not once")
    found, said = plan(config(), 4, monkeypatch)
    assert found.train.batch_size == 7
    assert said.endswith("batches of 7 images, to fit, not 16")
    assert plan(config(), 1.5, monkeypatch)[0].train.batch_size == 1


def test_options_overrule(measured, monkeypatch):
    assert plan(config(), 100, monkeypatch, batch_size=5)[0].train.batch_size == 5
    assert plan(config(), 4, monkeypatch, memory=100.0)[0].train.batch_size == 16
    assert plan(config(), 100, monkeypatch, memory=4.0)[0].train.batch_size == 7
    assert plan(config("matched_bank"), 100, monkeypatch, batch_size=2)[0].method.memory_bank.batch_size == 2
    for wrong in ({"batch_size": 0}, {"memory": 0.0}, {"memory": float("nan")}):
        with pytest.raises(ValueError, match=rf"^{next(iter(wrong))}: got"):
            FitOptions(**wrong)


@pytest.mark.parametrize(("method", "takes"), [("gnl", "in batches of 1 takes about 2.6"), ("matched_bank", "takes")])
def test_what_cannot_fit_is_refused_with_what_would(measured, monkeypatch, method, takes):
    """What the message names fits, and one step more does not."""
    with pytest.raises(ValueError, match=rf"memory: {method} at 1024x1024 .*{takes}.* and 1\.5 GB can be had") as error:
        plan(config(method, size=1024), 1.5, monkeypatch)
    side = int(str(error.value).rpartition("--size ")[2].partition(")")[0])
    assert ("fewer method.memory_bank.rows" in str(error.value)) == (method == "matched_bank")
    found = config(method, size=side)
    plan(found, 1.5, monkeypatch)
    with pytest.raises(ValueError, match=f"{side + 32}x{side + 32}"):
        plan(config(method, size=side + 32), 1.5, monkeypatch)
    with pytest.raises(ValueError, match="expected more memory: no size fits"):
        plan(config(method, size=1024), 0.5, monkeypatch)


def test_nothing_free_is_not_the_same_as_not_known(measured, monkeypatch):
    with pytest.raises(ValueError, match=r"0\.0 GB can be had"):
        plan(config(), 0, monkeypatch)
    monkeypatch.setattr(fit_memory, "fit_need", lambda *_: Need(GB, 0))  # nothing grows with the images' size
    with pytest.raises(ValueError, match="expected more memory: no size fits"):
        plan(config("matched_bank"), 0.5, monkeypatch)


def test_a_bank_beside_a_student_is_not_helped_by_smaller_batches(monkeypatch):
    asked = []

    def need(config, method, images):
        asked.append(len(method.phases))
        return Need(GB, 5 * GB)

    monkeypatch.setattr(fit_memory, "fit_need", need)
    monkeypatch.setattr(fit_memory, "largest_size", lambda *arguments, **options: 0)
    with pytest.raises(ValueError, match=r"in batches of 16 takes .*, or fewer method\.memory_bank\.rows and candid"):
        plan(config("bank_and_student"), 3, monkeypatch)
    assert asked == [0]  # training is not looked at


def test_a_resumed_training_keeps_its_batches(measured, monkeypatch, tmp_path):
    begun, _ = plan(config(), 4, monkeypatch)
    save_config(tmp_path, begun)
    for free in (3, 100):
        again, said = plan(config(), free, monkeypatch, workdir=tmp_path)
        assert (again.train.batch_size, again.train.feature_budget_mb) == (7, 0)
        assert "to fit" not in said
    again, _ = plan(config(), 100, monkeypatch, workdir=tmp_path, batch_size=8)  # `check_resume` names the difference
    assert again.train.batch_size == 8


@pytest.mark.slow
def test_a_fit_says_what_it_takes_and_refuses(monkeypatch):
    said, method = [], small_banks.make(BankOptions(rows=50))
    fit(small_banks.pictures(40), fitted.config(), method=method, say=said.append)
    assert sum(words.startswith("memory: this takes about 0.4 GB; ") for words in said) == 1
    with pytest.raises(ValueError, match=r"memory: .* takes about 0\.4 GB, and 0\.1 GB may be taken"):
        fit(small_banks.pictures(40), fitted.config(), options=FitOptions(memory=0.1), method=method)


def test_the_need_grows_with_images_and_with_rows(monkeypatch):
    def bank(images, **options):
        return fit_need(fitted.config(), small_banks.make(BankOptions(**options), small_banks.MATCHED), images)

    assert bank(40, rows=10).all < bank(40, rows=1000).all
    more = bank(4000, rows=10).all - bank(40, rows=10).all
    assert 0 < more < 2 * 3960 * 32 * 32 * 3 + 256 * 30_000  # the images, held twice, and their ranks
    usual = bank(40, rows=10).all
    monkeypatch.setattr(bank_need, "AT_ONCE", 1)  # passes of the teacher
    assert bank(40, rows=10).all < usual


@pytest.mark.parametrize(
    ("method", "arch", "size"), [("matched_bank", "resnet18", 64), ("dinov2_bank", "dinov2_vits14", 56)]
)
def test_the_need_of_banks_on_every_kind_of_teacher(method, arch, size):
    """Without its weights, which need not be here."""
    found = config(method, size=size)
    found.teacher.arch, found.teacher.weights = arch, "/no/such/file"
    need = fit_need(found, without_weights(found), 100)
    assert 0.4 * GB < need.all < 1.1 * GB


@pytest.mark.slow
@pytest.mark.parametrize(("size", "batch", "cached"), [(128, 16, False), (64, 16, True)])
def test_training_takes_what_the_compiler_plans(size, batch, cached):
    """Within 25 %, state and features included."""
    found = config(size=size, batch=batch)
    method = without_weights(found)
    (phase,) = method.phases
    images = jax.ShapeDtypeStruct((batch, size, size, 3), "uint8")
    features = jax.eval_shape(phase.precompute, method.frozen, images) if cached else None
    estimate = run_bytes(phase, method.frozen, size=size, group=1, features=features)
    grouped = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct((1, *leaf.shape), leaf.dtype), (images, features))
    state = jax.eval_shape(lambda: phase.init(jax.random.key(0), None, None))
    valid = jax.ShapeDtypeStruct((1, batch), bool)
    program = make_dispatch(phase.step).lower(jax.random.key(0), state, method.frozen, grouped[0], valid, grouped[1])
    memory = program.compile().memory_analysis()
    planned = memory.argument_size_in_bytes + memory.temp_size_in_bytes - 12_000_000  # without the teacher
    assert estimate == pytest.approx(planned, rel=0.25)


@pytest.mark.parametrize("said", [None, pytest.param(1.5, marks=pytest.mark.slow)])
def test_memory_that_is_given_overrules_what_is_free_to_the_end(monkeypatch, said):
    """The bank looks again, right before it is built."""
    monkeypatch.setattr(free_memory, "machine_free", lambda: 1000)
    monkeypatch.setattr(fit_memory, "free_bytes", lambda: 100 * GB)
    chosen = {"options": FitOptions(memory=said), "method": small_banks.make(BankOptions(rows=50))}
    if said is None:
        with pytest.raises(ValueError, match=r"rows: got 50 rows .* are available"):
            fit(small_banks.pictures(40), fitted.config(), **chosen)
    else:
        assert fit(small_banks.pictures(40), fitted.config(), **chosen).record is not None
