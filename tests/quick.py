"""`jax.jit` for tests of large networks: on a CPU it compiles in two fifths of the time.

XLA's own passes stay; LLVM's are left out, which costs speed that a program called a few times never earns back.
"""

import functools

import jax

jit = functools.partial(jax.jit, compiler_options={"xla_backend_optimization_level": 0})
