import json
import logging
import shutil
from typing import NamedTuple

import jax
import jax.numpy as jnp
import ml_collections
import numpy as np
import optax
import pytest
from jax.sharding import SingleDeviceSharding

from gnl_jax.training.checkpoint import CheckpointError, Checkpoints

CONFIG = ml_collections.ConfigDict({"train": {"lr": 0.005, "betas": (0.5, 0.999), "epochs": 2}, "seed": 0})


class State(NamedTuple):
    params: dict
    opt_state: optax.OptState
    step: jax.Array


def make_state(seed: int) -> State:
    kernel = jax.random.normal(jax.random.key(seed), (3, 3, 4, 8))
    params = {"layer1_0": {"kernel": kernel, "half": kernel.astype(jnp.bfloat16)}, "empty": {}, "none": None}
    params["ints"] = jnp.arange(5, dtype=jnp.uint8)
    return State(params, optax.adam(1e-3).init(params), jnp.int32(seed))


def assert_same(restored, saved) -> None:
    assert jax.tree.structure(restored) == jax.tree.structure(saved)
    for got, want in zip(jax.tree.leaves(restored), jax.tree.leaves(saved)):
        assert got.dtype == want.dtype
        assert np.asarray(got).tobytes() == np.asarray(want).tobytes()


@pytest.fixture(scope="module")
def two_saved(tmp_path_factory):
    folder = tmp_path_factory.mktemp("two_saved") / "checkpoints"
    with Checkpoints(folder) as checkpoints:
        for step in (2, 3):
            checkpoints.save(step, make_state(step), CONFIG)
    return folder


@pytest.fixture
def folder(two_saved, tmp_path):
    return shutil.copytree(two_saved, tmp_path / "checkpoints")


def test_round_trip_is_bit_equal(folder):
    abstract = jax.eval_shape(lambda: make_state(0))
    with Checkpoints(folder) as checkpoints:
        restored = checkpoints.restore(abstract)
    assert (restored.step, restored.skipped) == (3, ())
    assert restored.config == json.loads(CONFIG.to_json())
    assert_same(restored.state, make_state(3))


def test_leaves_go_where_the_template_says(folder):
    sharding = SingleDeviceSharding(jax.devices()[0])
    abstract = jax.tree.map(
        lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=sharding),
        jax.eval_shape(lambda: make_state(0)),
    )
    with Checkpoints(folder) as checkpoints:
        restored = checkpoints.restore(abstract)
    assert all(leaf.sharding == sharding and leaf.committed for leaf in jax.tree.leaves(restored.state))


def test_special_values_keep_their_bits(tmp_path):
    state = {"x": jnp.array([-0.0, jnp.inf, -jnp.inf, 1e-45, 3.4e38], jnp.float32)}
    with Checkpoints(tmp_path) as checkpoints:
        checkpoints.save(1, state, {})
        assert_same(checkpoints.restore(state).state, state)


def test_state_may_be_donated_while_it_is_written(tmp_path):
    state = {"x": jnp.ones((512, 1024))}
    overwrite = jax.jit(lambda state: jax.tree.map(lambda x: x * 0, state), donate_argnums=0)
    with Checkpoints(tmp_path) as checkpoints:
        checkpoints.save(1, state, {})
        address = state["x"].unsafe_buffer_pointer()
        state = overwrite(state)
        assert state["x"].unsafe_buffer_pointer() == address  # donated indeed: nobody still holds the buffer
        checkpoints.wait()
        np.testing.assert_array_equal(checkpoints.restore(state).state["x"], 1)


def test_newest_are_kept(tmp_path):
    with Checkpoints(tmp_path, keep=2) as checkpoints:
        for step in (10, 20, 30, 40):
            checkpoints.save(step, {"x": jnp.ones(2)}, {})
            assert checkpoints.latest_step() == step
        checkpoints.wait()
        assert sorted(path.name for path in tmp_path.iterdir()) == ["30", "40"]
    with pytest.raises(ValueError, match="keep: got 0"):
        Checkpoints(tmp_path, keep=0)


def test_reading_leaves_the_folder_alone(folder, tmp_path):
    with Checkpoints(tmp_path / "absent") as checkpoints:
        assert checkpoints.restore({}) is None
        assert checkpoints.latest_step() is None
    assert not (tmp_path / "absent").exists()

    (folder / "4.orbax-checkpoint-tmp").mkdir()  # a save in progress elsewhere
    before = sorted((path, path.stat().st_mtime_ns) for path in folder.rglob("*"))
    with Checkpoints(folder) as checkpoints:
        assert checkpoints.restore(make_state(0)).step == 3
    assert sorted((path, path.stat().st_mtime_ns) for path in folder.rglob("*")) == before


def test_a_healthy_checkpoint_is_never_overwritten(folder):
    with Checkpoints(folder) as checkpoints:
        for step in (1, 3):
            with pytest.raises(ValueError, match=f"step: got {step}, expected one past 3"):
                checkpoints.save(step, make_state(1), CONFIG)
        assert checkpoints.restore(make_state(0)).step == 3


def test_nan_is_not_saved(tmp_path):
    with Checkpoints(tmp_path) as checkpoints:
        for dtype in (jnp.float32, jnp.bfloat16):
            with pytest.raises(ValueError, match="state of step 1: params/kernel holds a NaN"):
                checkpoints.save(1, {"params": {"kernel": jnp.array([0, jnp.nan], dtype)}}, {})
        assert checkpoints.restore({}) is None


@pytest.mark.parametrize("state", [np.ones(2), {"a/b": np.ones(2), "a": {"b": np.ones(2)}}])
def test_leaves_without_a_name_of_their_own(tmp_path, state):
    with Checkpoints(tmp_path) as checkpoints, pytest.raises(ValueError, match="expected distinct names"):
        checkpoints.save(1, state, {})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda s: s._replace(step=jnp.float32(0)), r"step is int32\[\], the template expects float32\[\]"),
        (lambda s: s._replace(params={"ints": jnp.zeros(4, jnp.uint8)}), r"params/.* the template expects"),
        (lambda s: s._replace(params=s.params | {"new": jnp.zeros(1)}), "params/new is nothing"),
    ],
)
def test_a_template_that_does_not_fit_is_an_error_not_damage(folder, change, message):
    with Checkpoints(folder) as checkpoints, pytest.raises(ValueError, match=message):
        checkpoints.restore(change(make_state(0)))


def damage(path, how: str) -> None:
    data = bytearray(path.read_bytes())
    if how == "removed":
        path.unlink()
        return
    if how == "cut in half":
        del data[len(data) // 2 :]
    elif how == "emptied":
        data.clear()
    else:
        data[{"first": 0, "middle": len(data) // 2, "last": -1}[how]] ^= 0x10
    path.write_bytes(data)


# When one array cannot be read, Orbax closes its event loop while the reads of others are still coming in.
orbax_closes_its_loop = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")


@orbax_closes_its_loop
@pytest.mark.parametrize("how", ["removed", "emptied", "cut in half", "first", "middle", "last"])
def test_damage_to_any_file(two_saved, tmp_path, how):
    passed_over = 0
    files = sorted(path.relative_to(two_saved) for path in (two_saved / "3").rglob("*") if path.is_file())
    assert len(files) > 8
    for i, file in enumerate(files):
        folder = shutil.copytree(two_saved, tmp_path / str(i))
        damage(folder / file, how)
        with Checkpoints(folder) as checkpoints:
            restored = checkpoints.restore(make_state(0))
        # Some files matter to nobody (the per-process copies that were merged): then all is as if undamaged.
        assert restored.step == (2 if restored.skipped else 3), file
        assert restored.config == json.loads(CONFIG.to_json())
        assert_same(restored.state, make_state(restored.step))
        passed_over += bool(restored.skipped)
    assert passed_over >= 3


def test_arrays_of_another_checkpoint_are_noticed(folder):
    """Files that are whole in themselves but not the ones saved: only the stored SHA-256 can tell."""
    shutil.rmtree(folder / "3" / "state")
    shutil.copytree(folder / "2" / "state", folder / "3" / "state")
    with Checkpoints(folder) as checkpoints:
        restored = checkpoints.restore(make_state(0))
    assert restored.step == 2
    assert "SHA-256" in restored.skipped[0][1]


def test_a_changed_digit_in_the_config_is_noticed(folder):
    (record,) = (folder / "3" / "record").glob("metadata")
    record.write_text(record.read_text().replace("0.005", "0.006"))
    with Checkpoints(folder) as checkpoints:
        assert checkpoints.restore(make_state(0)).step == 2


def test_fallback_warns_and_training_goes_on(folder, caplog):
    shutil.rmtree(folder / "3" / "state")
    with Checkpoints(folder) as checkpoints:
        with caplog.at_level(logging.WARNING, logger="absl"):
            restored = checkpoints.restore(make_state(0))
        assert "damaged checkpoint 3 passed over" in caplog.text
        assert [step for step, _ in restored.skipped] == [3]
        assert (folder / "3").exists()  # still there to be looked at, until the run has come as far again
        checkpoints.save(3, make_state(3), CONFIG)
        checkpoints.wait()
        assert_same(checkpoints.restore(make_state(0)).state, make_state(3))


def test_all_damaged(folder):
    for step in (2, 3):
        shutil.rmtree(folder / str(step) / "state")
    with (
        Checkpoints(folder) as checkpoints,
        pytest.raises(CheckpointError, match=f"{folder}: no checkpoint can be read .*step 3: .*step 2: "),
    ):
        checkpoints.restore(make_state(0))


def test_a_folder_that_cannot_be_written(tmp_path):
    (tmp_path / "file").write_text("in the way")
    with (
        Checkpoints(tmp_path / "file" / "checkpoints") as checkpoints,
        pytest.raises(CheckpointError, match=r"file/checkpoints: checkpoint not written .*the last good step is None"),
    ):
        checkpoints.save(1, {"x": jnp.ones(1)}, {})
