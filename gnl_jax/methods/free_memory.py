"""How much memory is free: of this machine, of the control groups that this process is in, of the accelerator."""

import contextlib
import os
from collections.abc import Iterator
from contextvars import ContextVar
from pathlib import Path

import jax

NO_LIMIT = 1 << 60  # control groups write "no limit" as a number of about 2^63
_granted: ContextVar[float | None] = ContextVar("granted", default=None)


@contextlib.contextmanager
def granted(size: float | None) -> Iterator[None]:
    """Within it so many bytes count as free, whatever is; None changes nothing."""
    before = _granted.set(_granted.get() if size is None else size)
    try:
        yield
    finally:
        _granted.reset(before)


def free_bytes() -> int | None:
    """What the default device can still take; where it keeps no count (CPU), `host_free`."""
    if (said := _granted.get()) is not None:
        return int(said)
    stats = jax.devices()[0].memory_stats()
    if stats and "bytes_limit" in stats:
        return stats["bytes_limit"] - stats["bytes_in_use"]
    return host_free()


def host_free() -> int | None:
    """What this process can still take of the machine's memory without swapping; None where nothing tells.

    The least of what the machine has available and what each control group above the process leaves (containers).
    """
    if (said := _granted.get()) is not None:
        return int(said)
    known = [machine_free(), group_free()]
    return min((free for free in known if free is not None), default=None)


def machine_free(meminfo: Path = Path("/proc/meminfo")) -> int | None:
    """Linux's estimate of what can be had without swapping, else the free pages."""
    try:
        lines = meminfo.read_text().splitlines()
        kilobytes = {name: int(rest.split()[0]) for name, _, rest in (line.partition(":") for line in lines)}
        return 1024 * kilobytes["MemAvailable"]
    except (OSError, KeyError, ValueError, IndexError):
        pass
    try:
        return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):
        return None


def group_free(own: Path = Path("/proc/self/cgroup"), mounted: Path = Path("/sys/fs/cgroup")) -> int | None:
    """The least that a control group above this process leaves it; None without a limit.

    Args:
        own: which groups the process is in, as Linux writes it.
        mounted: where the groups are; version 2 right there, the memory groups of version 1 in "memory".
    """
    try:
        lines = [line.split(":", 2) for line in own.read_text().splitlines()]
    except OSError:
        return None
    found = []
    for _, kinds, path in (line for line in lines if len(line) == 3):
        if kinds not in ("", "memory"):
            continue
        root = mounted / "memory" if kinds else mounted
        below = root.joinpath(*(step for step in path.split("/") if step not in ("", "..")))
        # A container may see its own group as the root: every folder on the way counts.
        places = [below, *below.parents]
        found += [_left(place, version_1=bool(kinds)) for place in places[: places.index(root) + 1]]
    return min((free for free in found if free is not None), default=None)


def _left(group: Path, *, version_1: bool) -> int | None:
    """Limit less use of one group; cached files that it would give back are not counted as used."""
    version_1_names = ("limit_in_bytes", "usage_in_bytes", "total_inactive_file")
    names = version_1_names if version_1 else ("max", "current", "inactive_file")
    try:
        limit, used = ((group / f"memory.{name}").read_text().strip() for name in (names[0], names[1]))
        if limit == "max" or int(limit) >= NO_LIMIT:
            return None
        statistics = dict(line.split() for line in (group / "memory.stat").read_text().splitlines())
        return max(0, int(limit) - int(used) + int(statistics.get(names[2], 0)))
    except (OSError, ValueError):
        return None
