"""Convolutions in bands of rows: the numbers of the whole map's, and only where a CPU's program asks for them."""

import contextlib
import functools

import jax
import numpy as np
import pytest

from gnl_jax.nn import bands
from gnl_jax.nn.bands import bands_of, conv_in_bands
from gnl_jax.nn.layers import _library_conv, conv2d
from gnl_jax.ops.cpu_program import for_this_cpu

RNG = np.random.default_rng(0)
ROUNDING = 1e-5  # of the largest value; on the processor it was written on the bits are equal
STAGE_1 = (1, 64, 64, 64), (3, 3, 64, 64)


def normal(*shape):
    return RNG.standard_normal(shape, np.float32)


@pytest.fixture(autouse=True)
def two_cores(monkeypatch):
    monkeypatch.setattr(bands, "usable_cores", lambda: 2)


@pytest.mark.parametrize("count", [2, 4, 8])
@pytest.mark.parametrize(
    ("size", "stride", "shape"),
    [
        (3, 1, (1, 16, 17, 5)),
        (3, 2, (1, 16, 15, 5)),
        (3, 2, (2, 32, 16, 3)),
        (7, 2, (1, 32, 30, 3)),
        (5, 1, (1, 8, 9, 4)),
    ],
)
def test_the_numbers_are_those_of_the_whole_map(count, size, stride, shape):
    x, kernel, padding = normal(*shape), normal(size, size, shape[-1], 6), size // 2
    found = jax.jit(functools.partial(conv_in_bands, stride=stride, padding=padding, bands=count))(x, kernel)
    expected = jax.jit(lambda x, kernel: _library_conv(x, kernel, stride, padding))(x, kernel)
    assert found.shape == expected.shape
    np.testing.assert_allclose(found, expected, rtol=0, atol=ROUNDING * float(np.abs(expected).max()))


def test_a_map_that_is_one_tile_is_convolved_in_bands():
    x, kernel = normal(*STAGE_1[0]), normal(*STAGE_1[1])

    def lowered():
        return jax.jit(lambda x, kernel: conv2d(x, kernel, padding=1)).lower(x, kernel)

    plain = lowered()
    with for_this_cpu():
        banded = lowered()
    assert "1x10x528x64" in banded.as_text()  # 8 rows and the two around them; 8 times 64 and 2 columns
    assert "1x10x528x64" not in plain.as_text() + lowered().as_text()
    expected, found = (np.asarray(program.compile()(x, kernel)) for program in (plain, banded))
    np.testing.assert_allclose(found, expected, rtol=0, atol=ROUNDING * np.abs(expected).max())


@pytest.mark.parametrize(
    ("x", "kernel", "stride", "count"),
    [
        (*STAGE_1, 1, 8),
        ((1, 256, 256, 3), (7, 7, 3, 64), 2, 8),
        ((1, 56, 56, 64), (3, 3, 64, 64), 1, 8),  # 224 x 224
        ((1, 60, 60, 64), (3, 3, 64, 64), 1, 4),
        ((1, 61, 61, 64), (3, 3, 64, 64), 1, 1),  # nothing divides its rows
        ((1, 128, 128, 64), (3, 3, 64, 64), 1, 1),  # several tiles as it is
        ((1, 32, 32, 128), (3, 3, 128, 128), 1, 1),
        ((1, 16, 16, 32), (3, 3, 32, 32), 1, 1),  # soon done
        ((2, 64, 64, 64), (3, 3, 64, 64), 1, 1),
    ],
)
def test_how_many_bands(x, kernel, stride, count, monkeypatch):
    def found():
        return bands_of(np.zeros(x, np.float32), np.zeros(kernel, np.float32), stride=stride, padding=kernel[0] // 2)

    assert found() == 1
    with for_this_cpu():
        assert found() == count
        monkeypatch.setattr(bands, "usable_cores", lambda: 1)
        assert found() == 1


def test_any_number_of_images_can_be_exported():
    (count,) = jax.export.symbolic_shape("b")
    x, kernel = (jax.ShapeDtypeStruct(shape, np.float32) for shape in ((count, *STAGE_1[0][1:]), STAGE_1[1]))
    for context in (contextlib.nullcontext(), for_this_cpu()):
        with context:
            exported = jax.export.export(jax.jit(lambda x, kernel: conv2d(x, kernel, padding=1)))(x, kernel)
        assert exported.out_avals[0].shape == x.shape
