"""Rows of unsigned integers sorted by NumPy, called from a compiled program on a CPU.

XLA sorts with std::sort; NumPy with the processor's vector instructions (AVX-512, AVX2, NEON): 64 rows of 4,096
uint64 take 0.7 ms on one core instead of 8.8 (an EPYC with AVX-512; 1.5 with AVX2 alone, 7.7 with neither). Integers
have one ascending order, so the results are the same.

A program that calls Python must end before the interpreter does, or the process hangs, and it runs where Python has
this package. So no program contains such a call that was not traced under `for_this_cpu`: neither an exported one
nor one of your own.
"""

import ctypes
import functools
import os
import traceback

import numpy as np

from gnl_jax.array_types import Array
from gnl_jax.ops import foreign

TARGET = "gnl_jax_sort_rows"  # what a program calls; kept programs hold this name
_Function = ctypes.CFUNCTYPE(
    None, ctypes.c_void_p, ctypes.c_void_p, ctypes.POINTER(ctypes.c_char), ctypes.c_size_t, ctypes.c_void_p
)


def sort_rows(keys: Array) -> Array:
    """Unsigned integers [... n] -> the same, the last axis ascending; for programs that run on a CPU."""
    register()
    rows = keys.size // keys.shape[-1]  # of this array: several are sorted one after the other
    text = f"{keys.dtype.name} {rows} {keys.shape[-1]}"
    (ascending,) = foreign.in_place(TARGET, [keys], text=text, vmap_method="sequential")
    return ascending


@functools.cache
def register() -> None:
    """Lets programs of this process call NumPy; needed before one that was kept by another process is loaded."""
    foreign.register(TARGET, _sort_in_place)


@_Function
def _sort_in_place(out, _operands, text, length, _status) -> None:
    """Sorts the rows of the output, which is the operand as well. The pieces of one array are sorted side by side."""
    try:
        name, rows, n = ctypes.string_at(text, length).decode().split()
        kind: np.dtype = np.dtype(name)
        memory = (ctypes.c_char * (int(rows) * int(n) * kind.itemsize)).from_address(out)
        np.ndarray((int(rows), int(n)), kind, memoryview(memory)).sort(axis=-1)
    except BaseException:  # XLA would go on with what is not sorted
        traceback.print_exc()
        os.abort()
