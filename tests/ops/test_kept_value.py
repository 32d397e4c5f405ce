"""Values that a program computes once: the same bits, only where it was asked for, and XLA cannot undo it."""

from concurrent.futures import ThreadPoolExecutor

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gnl_jax.nn import blocks
from gnl_jax.ops.cpu_program import for_this_cpu
from gnl_jax.ops.kept_value import TARGET, kept_value

RNG = np.random.default_rng(0)


def compiled(function, *arguments):
    with for_this_cpu():
        return jax.jit(lambda *a: function(*a)).lower(*arguments).compile()


@pytest.mark.parametrize("dtype", [np.float32, jnp.bfloat16, np.uint8, np.bool_])
def test_it_is_the_value(dtype):
    x = np.asarray(RNG.integers(0, 2, (3, 4, 5)), dtype)
    program = compiled(kept_value, x)
    assert TARGET in program.as_text()
    assert np.asarray(program(x)).tobytes() == x.tobytes()


def test_the_argument_stays_as_it_was():
    x = jnp.asarray(RNG.standard_normal((3, 4)), jnp.float32)
    before = np.asarray(x).copy()
    (kept, twice) = compiled(lambda x: (kept_value(x) + 1, 2 * x), x)(x)
    np.testing.assert_array_equal(x, before)
    np.testing.assert_array_equal(kept, before + 1)
    np.testing.assert_array_equal(twice, 2 * before)


def test_several_at_once():
    x = RNG.standard_normal((3, 4, 5)).astype(np.float32)
    program = compiled(jax.vmap(lambda row: 2 * kept_value(jnp.sort(row))), x)
    assert program.as_text().count(f'custom_call_target="{TARGET}"') == 1
    np.testing.assert_array_equal(program(x), 2 * np.sort(x))
    with ThreadPoolExecutor(4) as pool:
        for found in pool.map(program, [x] * 40):
            np.testing.assert_array_equal(found, 2 * np.sort(x))


def test_no_other_program_calls_a_function():
    x = np.ones((2, 3), np.float32)

    def plain():
        return jax.jit(lambda x: kept_value(x)).lower(x).as_text()

    assert TARGET not in plain()
    with for_this_cpu():
        assert TARGET in plain()
        exported = jax.export.export(jax.jit(lambda x: kept_value(x)), platforms=("cuda",))(x)
    assert TARGET not in exported.mlir_module() + plain()


@pytest.mark.parametrize(("arch", "relus"), [("resnet18", 2), ("resnet50", 3)])
def test_a_stage_is_not_computed_again_for_each_of_its_blocks(arch, relus, monkeypatch):
    class Stage(nn.Module):
        @nn.compact
        def __call__(self, x):
            kind = blocks.architecture(arch)
            return blocks.stage(x, None, arch=kind, planes=4, blocks=6, change="same", name="stage")

    x = RNG.standard_normal((1, 16, 16, 16)).astype(np.float32)
    variables = Stage().init(jax.random.key(0), x)
    program = compiled(Stage().apply, variables, x)
    assert program.as_text().count(" maximum(") == 6 * relus
    monkeypatch.setattr(blocks, "kept_value", lambda x: x)
    other = compiled(Stage().apply, variables, x)
    # If this fails, XLA has learnt it: nothing has to be kept for it any more.
    assert other.as_text().count(" maximum(") > 6 * relus
    np.testing.assert_allclose(program(variables, x), other(variables, x), rtol=1e-6, atol=1e-6)
