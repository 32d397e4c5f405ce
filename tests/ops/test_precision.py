"""What is widened, and what is not narrowed."""

import jax
import jax.numpy as jnp
import pytest

from gnl_jax.ops.precision import at_least_float32


@pytest.mark.parametrize(
    ("given", "expected"), [("bfloat16", "float32"), ("float16", "float32"), ("float32", "float32"), ("float64",) * 2]
)
def test_narrow_types_are_widened(given, expected):
    with jax.enable_x64(True):
        assert at_least_float32(jnp.ones(2, given)).dtype == expected
