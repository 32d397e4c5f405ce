"""Sorting by NumPy from within a program: the same bits as XLA's sort, and only where it was asked for."""

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gnl_jax.ops.cpu_program import for_this_cpu
from gnl_jax.ops.host_sort import TARGET, sort_rows
from gnl_jax.ops.matching import efdm, sort_features

RNG = np.random.default_rng(0)
CONTENT = np.maximum(RNG.standard_normal((2, 6, 7, 5)), 0).astype(np.float32)  # with zeros, as after a ReLU
REFERENCES = np.sort(RNG.standard_normal((3, 42, 5)).astype(np.float32), axis=1)


def matched(content, reference):
    """Twice, so that the second sorts what depends on the reference."""
    once = efdm(content, reference, alpha=0.5)
    return efdm(once, reference, alpha=0.7), sort_features(once)


def lowered(function, *arguments):
    with for_this_cpu():
        return jax.jit(function).lower(*arguments)


@pytest.mark.parametrize("dtype", [np.float32, jnp.bfloat16])
def test_the_bits_are_those_of_xla(dtype):
    content, reference = CONTENT.astype(dtype), REFERENCES[0].astype(dtype)
    content[0, 0, 0, 0], content[1, 2, 3, 1] = np.nan, -np.inf
    program = lowered(lambda c, r: matched(c, r), content, reference)
    assert TARGET in program.as_text()
    for found, expected in zip(program.compile()(content, reference), jax.jit(matched)(content, reference)):
        assert np.asarray(found).tobytes() == np.asarray(expected).tobytes()


def test_several_references_at_once():
    def all_of_them(references):
        return jax.vmap(lambda r: matched(CONTENT, r))(references)

    found = lowered(all_of_them, REFERENCES).compile()(REFERENCES)
    for got, expected in zip(found, jax.jit(lambda r: all_of_them(r))(REFERENCES)):
        np.testing.assert_array_equal(got, expected)


def test_features_that_are_matched_and_measured_are_sorted_once():
    def both(content, reference):
        return efdm(content, reference, alpha=0.5), sort_features(content)

    program = lowered(both, CONTENT, REFERENCES[0]).compile().as_text()
    assert program.count(f'custom_call_target="{TARGET}"') == 2  # the pieces of one array


def test_no_other_program_calls_numpy():
    arguments = CONTENT, REFERENCES[0]
    assert TARGET in lowered(lambda *a: matched(*a), *arguments).as_text()
    assert TARGET not in jax.jit(lambda *a: matched(*a)).lower(*arguments).as_text()
    with for_this_cpu():
        exported = jax.export.export(jax.jit(lambda *a: matched(*a)), platforms=("cuda",))(*arguments)
    assert TARGET not in exported.mlir_module()
    assert TARGET not in jax.export.export(jax.jit(lambda *a: matched(*a)))(*arguments).mlir_module()


def test_the_request_holds_for_one_thread_and_ends():
    def sorts():
        return TARGET in jax.jit(lambda c: sort_features(c)).lower(CONTENT).as_text()

    with for_this_cpu(), ThreadPoolExecutor(1) as pool:
        assert sorts()
        assert not pool.submit(sorts).result()
    assert not sorts()
    with pytest.raises(KeyError), for_this_cpu():
        raise KeyError
    assert not sorts()


def test_several_threads_sort_at_once():
    keys = RNG.integers(0, 2**32, (8, 40, 50), np.uint32)
    program = lowered(sort_rows, keys[0]).compile()
    with ThreadPoolExecutor(8) as pool:
        for got, expected in zip(pool.map(program, keys), np.sort(keys)):
            np.testing.assert_array_equal(got, expected)


def test_matching_keeps_its_gradient():
    def total(content):
        return efdm(content, REFERENCES[0], alpha=0.25).sum()

    gradient = lowered(lambda c: jax.grad(total)(c), CONTENT).compile()(CONTENT)
    np.testing.assert_allclose(gradient, np.full(CONTENT.shape, 0.75), rtol=1e-6)


def test_what_cannot_be_sorted_ends_the_process():
    """Rather than going on with rows that are not sorted."""
    code = """
import numpy as np, jax
from gnl_jax.ops.host_sort import TARGET, register
register()
call = jax.ffi.ffi_call(TARGET, jax.ShapeDtypeStruct((2, 2), np.uint32), custom_call_api_version=3,
                        legacy_backend_config="uint32 two 2", input_output_aliases={0: 0})
print(call(np.ones((2, 2), np.uint32)))
"""
    environment = {**os.environ, "PYTHONFAULTHANDLER": ""}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=100, env=environment)
    assert done.returncode == -6
    assert "invalid literal for int() with base 10: 'two'" in done.stderr
    assert done.stdout == ""
