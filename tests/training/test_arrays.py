import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gnl_jax.training.arrays import load_arrays, save_arrays

TREE = {
    "params": {
        "layer1": {"kernel": np.array([[-0.0, np.inf], [1e-45, np.nan]], np.float32)},
        "half": jnp.array([1.5, -2.0], jnp.float16),
        "not_contiguous": np.arange(12, dtype=np.int32).reshape(3, 4).T,
    },
    "scalar": np.array(7, np.uint8),
    "flags": np.array([True, False]),
    "empty": np.zeros((0, 3), np.float32),
}


def test_round_trip_is_bit_equal(tmp_path):
    save_arrays(tmp_path / "arrays", TREE)
    loaded = load_arrays(tmp_path / "arrays")
    assert jax.tree.structure(loaded) == jax.tree.structure(TREE)
    for got, want in zip(jax.tree.leaves(loaded), jax.tree.leaves(TREE), strict=True):
        assert isinstance(got, jax.Array)
        assert (got.dtype, got.shape) == (want.dtype, want.shape)
        assert np.asarray(got).tobytes() == np.asarray(want).tobytes()


def test_a_file_that_cannot_be_read_is_named(tmp_path):
    path = tmp_path / "arrays"
    with pytest.raises(ValueError, match=rf"^{path}: .*No such file.*; expected the arrays of an earlier run$"):
        load_arrays(path)
    save_arrays(path, TREE)
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(ValueError, match=rf"^{path}: .*; expected the arrays of an earlier run$"):
        load_arrays(path)


@pytest.mark.parametrize("array", [jnp.ones(2, jnp.bfloat16), np.array([object()])])
def test_other_types_are_refused(tmp_path, array):
    path = tmp_path / "arrays"
    save_arrays(path, TREE)
    before = path.read_bytes()
    with pytest.raises(ValueError, match=f"^{path}: params/odd has type {array.dtype}, expected numbers"):
        save_arrays(path, {"params": {"odd": array}})
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]
