"""A value that a program computes once, for CPUs: XLA would compute it again for everything that reads it.

XLA fuses a sum with each of its readers. In a residual network a block's output is the sum of the block and of the
output before it, so every reader of a block adds up its whole stage again, from as many arrays as there are blocks.
What a foreign function has returned cannot be computed again; this one does nothing to its argument. Wide ResNet-50-2:
an image of a memory bank 285 -> 250 ms, the same bits (two cores of an AVX-512 EPYC).
"""

import ctypes
import functools
from typing import Any

import jax
from jax import lax

from gnl_jax.ops import foreign
from gnl_jax.ops.cpu_program import is_for_this_cpu

PyTree = Any

TARGET = "gnl_jax_kept_value"  # what a program calls; kept programs hold this name


def kept_value(x: PyTree) -> PyTree:
    """x, arrays of any shape and dtype, computed once in programs for this CPU (`for_this_cpu`); elsewhere as it is.

    Of several arrays all are there before one of them is read.
    """
    if not is_for_this_cpu():
        return x
    return lax.platform_dependent(x, cpu=_through_a_function, default=lambda x: x)


def _through_a_function(x: PyTree) -> PyTree:
    register()
    arrays, tree = jax.tree.flatten(x)
    return jax.tree.unflatten(tree, foreign.in_place(TARGET, arrays, text="", vmap_method="expand_dims"))


@functools.cache
def register() -> None:
    """Lets programs of this process call it."""
    # It changes nothing and needs no lock of Python's. That it takes fewer arguments than it is given is harmless in C.
    foreign.register(TARGET, ctypes.pythonapi.Py_IsInitialized)
