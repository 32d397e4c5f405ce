"""Compiled programs kept between processes: the same bits, and only for what they were compiled for."""

import json
import os
import subprocess
import sys

import fitted
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gnl_jax.detection import programs
from gnl_jax.detection.artifact import load, save
from gnl_jax.detection.bound_program import Calling
from gnl_jax.detection.detector import predict
from gnl_jax.detection.programs import kept_score, pack_program, unpack_program
from gnl_jax.methods.base import Prediction
from gnl_jax.ops.host_sort import TARGET
from gnl_jax.ops.matching import sort_features

VARIABLES = {"w": jnp.arange(12.0).reshape(3, 4), "banks": {"0": {"owners": jnp.arange(3)}}, "alpha": jnp.float32(0.5)}
IMAGES = np.random.default_rng(0).integers(0, 256, (2, 4, 4, 3), np.uint8)
KEY = {"about": {"matching": "none"}}


# Loads a detector and scores, and says what was imported for it.
START = """
import json, sys
from pathlib import Path
import numpy as np
from gnl_jax.detection.artifact import load
from gnl_jax.detection.rows import row
detector = load(sys.argv[1], programs=sys.argv[2])
result = detector.inspect(np.full((40, 40, 3), 90, np.uint8))
heavy = [name for name in ("flax", "optax", "orbax", "sklearn", "matplotlib") if name in sys.modules]
print(json.dumps([row(result), heavy]))
"""

# Scores with variables of the second device, by a program compiled for the first, and the other way round.
TWO_DEVICES = """
import jax, jax.numpy as jnp, numpy as np
from gnl_jax.detection.programs import kept_score
from gnl_jax.methods.base import Prediction

first, second = jax.devices()
images = np.ones((2, 4), np.uint8)
for own, other in ((first, second), (second, first)):
    score = kept_score(lambda: lambda w, x: Prediction(x @ w), folder=None, about={})
    for device in (own, other):
        with jax.default_device(device):
            result = score(jnp.arange(4.0), jnp.asarray(images)).score
        assert result.devices() == {own} and result.tolist() == [6, 6]
"""


def program():
    """A function that leaves an argument unused and has no drift."""

    def score_batch(variables, images):
        x = jnp.einsum("bhwc,cd->bhwd", images.astype(jnp.float32), variables["w"]) * variables["alpha"]
        return Prediction(x.max((1, 2, 3)), jnp.sin(x).sum(-1))

    return score_batch


def never():
    raise AssertionError("compiled, where a kept program was there")


def bits(prediction):
    return [None if value is None else np.asarray(value).tobytes() for value in prediction]


def test_it_is_traced_into_another_program(tmp_path):
    """As an export does, for any number of images."""
    (images,) = jax.export.symbolic_shape("b")
    score = kept_score(program, folder=tmp_path, about={})
    sample = jax.ShapeDtypeStruct((images, *IMAGES.shape[1:]), np.uint8)
    exported = jax.export.export(jax.jit(lambda images: score(VARIABLES, images).score))(sample)
    np.testing.assert_array_equal(exported.call(IMAGES), jax.jit(program())(VARIABLES, IMAGES).score)
    assert list(tmp_path.iterdir()) == []


def test_the_same_variables_are_bound_once_and_others_count():
    def afresh(variables, images):
        return bits(kept_score(program, folder=None, about=KEY)(variables, images))

    calls = []
    variables = dict(VARIABLES)
    score = kept_score(lambda: calls.append(True) or program(), folder=None, about=KEY)
    expected = bits(score(variables, IMAGES))
    assert bits(score(variables, IMAGES)) == expected
    assert bits(score(variables, IMAGES + 1)) == afresh(variables, IMAGES + 1) != expected
    variables["alpha"] = jnp.float32(2)  # the same dictionary with another array
    assert bits(score(variables, IMAGES)) == afresh(variables, IMAGES) != expected
    assert bits(score(VARIABLES, IMAGES)) == expected
    assert calls == [True]
    assert score(VARIABLES, IMAGES[:1]).score.shape == (1,)
    assert bits(score(VARIABLES, IMAGES)) == expected
    assert len(calls) == 2


def test_the_same_variables_are_looked_at_once(monkeypatch):
    score, looked_at, here = kept_score(program, folder=None, about=KEY), [], programs.Program.here
    monkeypatch.setattr(programs.Program, "here", lambda self, array: looked_at.append(array) or here(self, array))
    score(VARIABLES, IMAGES)
    assert len(looked_at) == len(jax.tree.leaves(VARIABLES)) + 1
    score(VARIABLES, IMAGES)
    assert looked_at[-1] is IMAGES
    assert len(looked_at) == len(jax.tree.leaves(VARIABLES)) + 2


def test_arrays_of_numpy_may_change_between_calls():
    variables = {"w": np.arange(12, dtype=np.float32).reshape(3, 4), "alpha": np.float32(1)}
    score = kept_score(program, folder=None, about=KEY)
    before = np.array(score(variables, IMAGES).score)  # awaited: until then the program may read the arrays themselves
    variables["w"] *= 2
    np.testing.assert_array_equal(score(variables, IMAGES).score, 2 * before)


def test_what_it_sorts_is_sorted_by_numpy(tmp_path):
    """The kept program names it; scores are those of XLA's sort."""

    def make():
        return lambda variables, images: Prediction(sort_features(images * variables["alpha"])[:, 3, 0])

    score = kept_score(make, folder=tmp_path, about={})
    np.testing.assert_array_equal(score(VARIABLES, IMAGES).score, make()(VARIABLES, IMAGES).score)
    (path,) = tmp_path.iterdir()
    assert TARGET.encode() in path.read_bytes()


def test_a_folder_that_can_only_be_read(tmp_path, monkeypatch):
    expected = bits(kept_score(program, folder=tmp_path, about={})(VARIABLES, IMAGES))

    def refused(path):
        raise PermissionError(path)

    monkeypatch.setattr(programs.os, "utime", refused)
    assert bits(kept_score(never, folder=tmp_path, about={})(VARIABLES, IMAGES)) == expected


def test_the_next_process_compiles_nothing(tmp_path):
    expected = bits(jax.jit(program())(VARIABLES, IMAGES))
    for make in (program, never):
        score = kept_score(make, folder=tmp_path / "new", about={})
        assert bits(score(VARIABLES, IMAGES)) == bits(score(VARIABLES, jnp.asarray(IMAGES))) == expected
    assert expected[2] is None
    assert len(list((tmp_path / "new").iterdir())) == 1


def test_anything_else_has_a_program_of_its_own(tmp_path, monkeypatch):
    """Another method, shape, tree, version, processor, source or setting."""
    count = 0

    def scored(about, variables=VARIABLES, images=IMAGES):
        nonlocal count
        count += 1
        expected = bits(jax.jit(program())(variables, images))
        assert bits(kept_score(program, folder=tmp_path, about=about)(variables, images)) == expected
        assert len(list(tmp_path.iterdir())) == count

    scored({"matching": "none"})
    scored({"matching": "efdm"})
    scored({"matching": "none"}, images=IMAGES[:1])
    scored({"matching": "none"}, variables={**VARIABLES, "more": jnp.zeros(1)})
    scored({"matching": "none"}, variables={**VARIABLES, "w": VARIABLES["w"].astype(jnp.float16)})
    for name in ("processor", "source_digest", "_version"):
        with monkeypatch.context() as patched:
            patched.setattr(programs, name, lambda *_: "another")
            scored({"matching": "none"})
    monkeypatch.setenv("XLA_FLAGS", os.environ["XLA_FLAGS"] + " ")
    scored({"matching": "none"})


def test_a_damaged_program_is_compiled_again(tmp_path):
    expected = bits(kept_score(program, folder=tmp_path, about={})(VARIABLES, IMAGES))
    (path,) = tmp_path.iterdir()
    whole = path.read_bytes()
    path.write_bytes(whole[:-1])
    assert bits(kept_score(program, folder=tmp_path, about={})(VARIABLES, IMAGES)) == expected
    assert bits(kept_score(never, folder=tmp_path, about={})(VARIABLES, IMAGES)) == expected


def test_every_altered_byte_is_refused():
    calling = Calling(("score",), {3: (0, 2, 1)})
    whole = pack_program(KEY, calling, bytes(range(256)))
    assert unpack_program(whole, KEY) == (calling, bytes(range(256)))
    for i in range(len(whole)):
        with pytest.raises(ValueError, match=r"no compiled program|SHA-256"):
            unpack_program(whole[:i] + bytes([whole[i] ^ 1]) + whole[i + 1 :], KEY)
    with pytest.raises(ValueError, match="of another detector"):
        unpack_program(whole, {"about": {"matching": "efdm"}})


def test_a_folder_that_cannot_be_written_costs_only_time():
    score = kept_score(program, folder=programs.Path("/proc/none"), about={})
    assert bits(score(VARIABLES, IMAGES)) == bits(jax.jit(program())(VARIABLES, IMAGES))


def test_what_nobody_used_is_removed(tmp_path):
    kept_score(program, folder=tmp_path, about={"a": 1})(VARIABLES, IMAGES)
    (path,) = tmp_path.iterdir()
    os.utime(path, (0, 0))
    kept_score(program, folder=tmp_path, about={"a": 2})(VARIABLES, IMAGES)
    assert len(list(tmp_path.iterdir())) == 1
    assert not path.exists()


@pytest.mark.slow
def test_arrays_of_another_device_are_taken_to_its_own():
    environment = {**os.environ, "XLA_FLAGS": os.environ["XLA_FLAGS"] + " --xla_force_host_platform_device_count=2"}
    done = subprocess.run(
        [sys.executable, "-c", TWO_DEVICES], capture_output=True, text=True, timeout=100, env=environment
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.slow
@pytest.mark.xdist_group("fitted")
@pytest.mark.usefixtures("small_network")
def test_a_detector_starts_without_its_networks(tmp_path):
    """In a process that has no such architecture, and imports nothing that describes one."""
    detector, _ = fitted.fitted()
    path, folder = tmp_path / "part.gnl", tmp_path / "programs"
    save(detector, path)
    kept = load(path, programs=folder)
    images = fitted.digits()[1][:3]
    assert bits(predict(kept, images)) == bits(predict(load(path), images))
    command = [sys.executable, "-c", START, str(path), str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=100)
    assert done.returncode == 0, done.stderr
    row, heavy = json.loads(done.stdout)
    expected = kept.inspect(np.full((40, 40, 3), 90, np.uint8))
    assert (row["decision"], row["score"], row["drift"]) == (expected.decision, expected.score, expected.drift)
    assert heavy == []
