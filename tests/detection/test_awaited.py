"""Programs that call Python are waited for at the interpreter's end; errors reach who started them."""

import subprocess
import sys
import threading

import jax.numpy as jnp
import pytest

from gnl_jax.detection.awaited import awaited

# Starts a program that sorts for a while and ends without reading its result.
LEFT = """
import sys, time
import jax, numpy as np
from gnl_jax.detection.awaited import awaited
from gnl_jax.ops.host_sort import sort_rows

keys = np.random.default_rng(0).integers(0, 2**32, (64, 4096), np.uint32)

def many(keys):
    for k in range(100):
        keys = sort_rows(keys[:, ::-1] + np.uint32(k))
    return keys

program = jax.jit(many).lower(keys).compile()
result = awaited(lambda: program(keys))
if sys.argv[1] == "interrupted":
    raise KeyboardInterrupt
"""


@pytest.mark.parametrize("how", ["left", "interrupted"])
def test_the_process_ends_although_nobody_read_the_result(how):
    done = subprocess.run([sys.executable, "-c", LEFT, how], capture_output=True, text=True, timeout=60)
    assert done.returncode == (-2 if how == "interrupted" else 0), done.stderr


def test_it_returns_before_the_arrays_are_there():
    there = threading.Event()

    class Late:
        """As an array that a program has not computed yet."""

        def block_until_ready(self):
            assert there.wait(20)

    late = Late()
    assert awaited(lambda: late) is late
    there.set()


def test_errors_of_the_start_are_raised():
    def start():
        raise ValueError("no such program")

    with pytest.raises(ValueError, match="no such program"):
        awaited(start)
    assert awaited(lambda: jnp.ones(3)).sum() == 3
