"""Where a compiled program spends its time: the profiler's events of each operation, summed by named scope."""

import re
import tempfile
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax

# The named scopes of training and scoring; what belongs to none is "other".
SCOPES = ("views", "teacher", "matching", "bottleneck", "decoder", "losses", "optimiser", "score map")
_NAMED = re.compile(r"^\s*(?:ROOT )?%?([\w.\-]+) = .*metadata=\{[^}]*op_name=\"([^\"]*)\"", re.MULTILINE)


class Event(NamedTuple):
    """An operation on one thread, from `start` to `end` in nanoseconds."""

    name: str
    start: float
    end: float


def seconds_by_scope(
    compiled: jax.stages.Compiled, call: Callable[[], object], *, runs: int = 3, scopes: Sequence[str] = SCOPES
) -> dict[str, float]:
    """Seconds of one call by scope; "decoder, gradient" and the like for what differentiates.

    Args:
        compiled: the program, whose text says to which scope an operation belongs.
        call: runs it once and returns arrays.
        runs: how many calls are averaged.
        scopes: the names that are told apart.

    Threads that work at the same time are added up, so the sum may be more than the time of a call; operations that
    the profiler does not report (on a CPU, what a loop does between its parts) are missing from it.
    """
    scope_of = {_plain(name): scope(path, scopes) for name, path in _NAMED.findall(compiled.as_text())}
    jax.block_until_ready(call())
    with tempfile.TemporaryDirectory(prefix="gnl_jax_") as folder:
        with jax.profiler.trace(folder):
            for _ in range(runs):
                jax.block_until_ready(call())
        (path,) = Path(folder).glob("**/*.xplane.pb")
        data = jax.profiler.ProfileData.from_file(str(path))
    total: Counter[str] = Counter()
    for line in (line for plane in data.planes for line in plane.lines):
        for name, seconds in self_seconds(_operations(line.events)):
            total[scope_of.get(_plain(name), "other")] += seconds / runs
    return dict(total.most_common())


def scope(path: str, scopes: Sequence[str] = SCOPES) -> str:
    """The innermost of the scopes in an operation's path, such as "jit(step)/transpose(jvp(decoder))/conv"."""
    found, words = "other", [re.findall(r"[\w ]+", part) for part in path.split("/")]
    for part in words:
        found = next((name for name in scopes if name in part), found)
    differentiated = any("transpose" in part for part in words[:-1])  # the last is an operation, maybe of that name
    return f"{found}, gradient" if differentiated and found != "other" else found


def _operations(events: Iterable[Any]) -> list[Event]:
    """The events that are operations of a compiled program.

    Of what a GPU runs as one graph ("command buffer"), kernels are known by their own names only, which are those of
    the operations they were compiled for, or a library's.
    """
    found = []
    for event in events:
        name = dict(event.stats).get("hlo_op")
        if name is not None:
            name = event.name if name.startswith("command_buffer") else name
            found.append(Event(name, event.start_ns, event.start_ns + event.duration_ns))
    return found


def _plain(name: str) -> str:
    """An operation's name as a kernel's: with underscores."""
    return re.sub(r"[.-]", "_", name)


def self_seconds(events: Sequence[Event]) -> list[tuple[str, float]]:
    """(name, seconds) of each event on one thread without those inside it: of a loop, only what is its own."""
    order = sorted(events, key=lambda e: (e.start, -e.end))
    own = [event.end - event.start for event in order]
    open_events: list[int] = []
    for i, event in enumerate(order):
        while open_events and order[open_events[-1]].end <= event.start:
            open_events.pop()
        if open_events:
            own[open_events[-1]] -= event.end - event.start
        open_events.append(i)
    return [(event.name, ns / 1e9) for event, ns in zip(order, own)]
