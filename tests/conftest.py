"""Strictness for the whole suite: warnings are errors (pyproject.toml), no implicit rank promotion.

Compiling is most of what the tests cost. A program that several tests compile is compiled once: compiled programs are
kept for as long as the suite runs. And XLA is to be done soon: it leaves LLVM's optimisations out, two fifths of the
time. As a user's programs are compiled: XLA_FLAGS=--xla_backend_optimization_level=3 make test.
"""

import atexit
import os
import shutil
import tempfile

os.environ.setdefault("JAX_PLATFORMS", "cpu")
os.environ.setdefault("MPLBACKEND", "Agg")
os.environ.setdefault("XLA_FLAGS", "--xla_backend_optimization_level=0")

import jax

jax.config.update("jax_numpy_rank_promotion", "raise")
_cache = tempfile.mkdtemp(prefix="gnl_jax_tests_")
atexit.register(shutil.rmtree, _cache, ignore_errors=True)
jax.config.update("jax_compilation_cache_dir", _cache)
jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.2)
