"""The processor that this process runs on: what a compiled program depends on beside its code."""

import functools
import os
import platform
from pathlib import Path


def usable_cores() -> int:
    """Processor cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@functools.cache
def processor() -> str:
    """Names what a program was compiled for: one for a processor with AVX-512 ends a process on another."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    found = {name.strip(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    features = found.get("flags") or found.get("Features") or platform.processor()
    return f"{platform.machine()} {found.get('model name', '')}: {features}"
