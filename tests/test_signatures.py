"""Signatures that name dtypes and axes: checked in the tests, and free outside of them."""

import json
import subprocess
import sys

import jax
import jax.numpy as jnp
import jaxtyping
import numpy as np
import pytest
import signatures

from gnl_jax.images.pillow import luma
from gnl_jax.nn.batch_norm import BatchNorm
from gnl_jax.ops.cosine import cosine_distance
from gnl_jax.ops.matching import efdm
from gnl_jax.ops.precision import at_least_float32

WRONG = {
    "ops, another length": lambda: efdm(jnp.zeros((1, 4, 4, 3)), jnp.zeros((15, 3)), alpha=0.5),
    "images, another dtype": lambda: luma(jnp.zeros((4, 4, 3))),
    "nn, another number of axes": lambda: BatchNorm().init(jax.random.key(0), jnp.zeros((4, 3))),
}


@pytest.mark.parametrize("call", WRONG.values(), ids=WRONG)
def test_a_wrong_array_raises(call):
    with pytest.raises(jaxtyping.TypeCheckError):
        call()


def test_a_tracer_is_checked_too():
    with pytest.raises(jaxtyping.TypeCheckError):
        jax.eval_shape(jax.vmap(cosine_distance), jnp.zeros((2, 3, 5)), jnp.zeros((2, 4, 5)))


def test_an_int_is_a_float():
    content, reference = jnp.ones((1, 2, 2, 1)), jnp.zeros((4, 1))
    np.testing.assert_array_equal(efdm(content, reference, alpha=1), jnp.zeros((1, 2, 2, 1)))


def test_without_the_check_a_function_says_what_is_wrong():
    with signatures.unchecked(), pytest.raises(ValueError, match="reference: got shape"):
        WRONG["ops, another length"]()


def imported(program: str) -> set[str]:
    """The modules there are after a program of its own."""
    program += "\nimport json, sys\nprint(json.dumps(list(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True)
    return set(json.loads(done.stdout))


def test_outside_of_the_tests_nothing_is_checked_and_nothing_imported_for_it():
    alone = imported("import gnl_jax")
    assert not {"jaxtyping", "beartype", "jax", "numpy"} & alone
    used = imported("from gnl_jax.ops.precision import at_least_float32 as f\nassert not hasattr(f, '__wrapped__')")
    assert "jaxtyping" in used
    assert "beartype" not in used
    assert hasattr(at_least_float32, "__wrapped__")  # or the search finds nothing
