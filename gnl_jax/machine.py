"""The processor that this process runs on: what a compiled program depends on beside its code."""

import functools
import importlib.metadata
import os
import platform
from pathlib import Path


def usable_cores() -> int:
    """Processor cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@functools.cache
def processor() -> str:
    """Names what a program was compiled for: one for a processor with AVX-512 ends a process on another."""
    found = _cpuinfo()
    features = found.get("flags") or found.get("Features") or platform.processor()
    return f"{platform.machine()} {found.get('model name', '')}: {features}"


def keep_threads_apart() -> int:
    """Binds each thread that XLA computes with to a processor core of its own, as onnxruntime does; how many it bound.

    Linux wakes threads that have slept for a tenth of a second or more on one core, and takes a while to part them:
    with a memory bank the first image after a rest took 44 ms, with bound threads 32 (two cores of an AVX-512 EPYC).
    Call it after something was computed. 0, and nothing is done, on other systems, and where the threads are not as
    many as the cores that this process may use.
    """
    tasks = Path("/proc/self/task")
    if not (hasattr(os, "sched_setaffinity") and tasks.is_dir()):
        return 0
    threads = sorted(int(task.name) for task in tasks.iterdir() if _name(task) == "tf_XLAEigen")
    cores = sorted(os.sched_getaffinity(0))
    if len(threads) != len(cores):
        return 0
    for thread, core in zip(threads, cores, strict=True):
        os.sched_setaffinity(thread, {core})
    return len(threads)


def numpy_settings() -> dict[str, str]:
    """Environment variables with which NumPy sorts faster on this processor; they count when NumPy is imported.

    On AMD's Zen 4 NumPy's AVX-512 sort takes three times as long as its AVX2 sort (64 rows of 4,096 uint64: 6.0 and
    1.9 ms), because the instruction that packs a vector into memory is slow there. Empty on other processors (Zen 5 is
    not slow), and on other systems than Linux, where the processor's family is not known.
    """
    cpu = _cpuinfo()
    zen_3_or_4 = (cpu.get("vendor_id"), cpu.get("cpu family")) == ("AuthenticAMD", "25")
    if not zen_3_or_4 or "avx512f" not in cpu.get("flags", "").split():  # Zen 3 has none
        return {}
    major, minor = (int(n) for n in importlib.metadata.version("numpy").split(".")[:2])
    return {"NPY_DISABLE_CPU_FEATURES": "X86_V4" if (major, minor) >= (2, 4) else "AVX512_SKX"}


def _cpuinfo() -> dict[str, str]:
    """What Linux says of the last core, by name; empty on other systems."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return {}
    return {name.strip(): value.strip() for name, _, value in (line.partition(":") for line in lines)}


def _name(task: Path) -> str:
    """A thread's name; none for one that has ended."""
    try:
        return (task / "comm").read_text().strip()
    except OSError:
        return ""
