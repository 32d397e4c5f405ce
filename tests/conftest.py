"""Strictness for the whole suite: warnings are errors (pyproject.toml), no implicit rank promotion, checked signatures.

Compiling is most of what the tests cost. A program that several tests compile is compiled once: all processes share
the compiled programs, which are kept for the next run (compiled_programs.py). And XLA is to be done soon: it leaves
LLVM's optimisations out, two fifths of the time, and writes loops with its older emitters, which takes a third of the
rest (training would be slower with them). As a user's programs are compiled:
XLA_FLAGS=--xla_backend_optimization_level=3 make test.
"""

import os
from importlib.metadata import version
from pathlib import Path

os.environ.setdefault("JAX_PLATFORMS", "cpu")
os.environ.setdefault("MPLBACKEND", "Agg")
os.environ.setdefault(
    "XLA_FLAGS",
    "--xla_backend_optimization_level=0"
    # jaxlib 0.11.2 has no older emitters, and XLA ends a process for a flag that it does not know.
    + " --xla_cpu_use_fusion_emitters=false --xla_cpu_parallel_codegen_split_count=1"
    * version("jaxlib").startswith("0.10."),
)

import compiled_programs
import jax
import pytest
import signatures

jax.config.update("jax_numpy_rank_promotion", "raise")
compiled_programs.use()
signatures.use()

HERE = Path(__file__).parent
# The files that take longest, longest first: what a process begins last should be short.
LONGEST = (
    *("test_cli.py", "detection/test_fit.py", "methods/test_golden.py", "training/test_loop.py"),
    *("deploy/test_onnx_export.py", "detection/test_learn_more.py", "nn/test_dinov2.py", "deploy/test_onnx_int8.py"),
    *("training/test_stopped.py", "methods/test_memory_bank.py", "methods/test_build.py", "ops/test_matching.py"),
    *("training/test_resume.py", "training/test_parallel.py", "experiments/test_end_to_end.py", "test_console.py"),
    *("detection/test_windowed.py", "images/test_augmix.py", "nn/test_networks.py", "data/test_builders.py"),
    *("methods/test_kdad.py", "methods/test_wgan_gp.py", "experiments/test_evaluate_program.py", "nn/test_lenet.py"),
)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items):
    """One process runs a file, or the files of one xdist_group; those of LONGEST come first."""
    names = {item.path: item.path.relative_to(HERE).as_posix() for item in items}
    for item in items:
        if item.get_closest_marker("xdist_group") is None:
            item.add_marker(pytest.mark.xdist_group(names[item.path]))
    rank = {name: i for i, name in enumerate(LONGEST)}
    items.sort(key=lambda item: rank.get(names[item.path], len(rank)))


@pytest.fixture(autouse=True)
def commands_keep_to_themselves(monkeypatch):
    """A command called in this process leaves its log, programs, XLA's flags, threads and exit as they are."""
    for name in ("show_log", "keep_compiled_programs", "programs_folder", "use_library_products"):
        monkeypatch.setattr(f"gnl_jax.console.{name}", lambda: None)
    monkeypatch.setattr("gnl_jax.console.end_at_exit", lambda status: None)
    monkeypatch.setattr("gnl_jax.cli.arguments.keep_threads_apart", lambda: 0)


@pytest.fixture(scope="module")
def small_network():
    """For a module: "resnet10", which compiles in a third of ResNet-18's time, is an architecture like any other."""
    from run_folders import small_architecture

    with small_architecture():
        yield


@pytest.hookimpl(trylast=True)
def pytest_runtest_teardown(item, nextitem):
    """After the last test of a file the programs compiled for it leave memory: hundreds of MiB a file."""
    if nextitem is None or nextitem.path != item.path:
        jax.clear_caches()
