"""Files, folders and patterns through a detector: a row for each, in order, and a summary of the batch."""

import argparse
import contextlib
import io
import os
import shlex
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO, TYPE_CHECKING

from gnl_jax.cli.arguments import Listed, group_by
from gnl_jax.text import printable

if TYPE_CHECKING:
    from gnl_jax.detection.advice import Verdict
    from gnl_jax.detection.detector import Detector
    from gnl_jax.detection.inspection import Inspected

_RECALIBRATE = "gnl-jax recalibrate {} --good VERIFIED_GOOD --condition WHAT_CHANGED --out NEW.gnl"
_LONGEST = 230  # bytes of a file's name that its overlay keeps


def run_files(args: argparse.Namespace, files: Sequence[Listed], detector: "Detector") -> Counter:
    """Scores files, with a summary on standard error; how many had each decision."""
    from gnl_jax.detection.inspection import ERROR
    from gnl_jax.detection.rows import WRITERS
    from gnl_jax.progress import progress_bar

    if args.overlays:  # pages and pictures import what scoring does without
        from gnl_jax.report.overlay import write_overlay
    if args.html:
        from gnl_jax.report.triage import Triage

    results, said, taken = [], Counter[str](), set[str]()
    with contextlib.ExitStack() as stack:
        page = stack.enter_context(Triage(args.html, detector)) if args.html else None
        keep = bool(args.overlays or page)
        with output(args.out) as out, progress_bar("images", len(files)) as advance:
            write = WRITERS[args.format or "csv"](out)
            for file, result in zip(files, detector.inspect([f.path for f in files], keep=keep)):
                write(result)
                said[result.decision] += 1
                if args.overlays and result.image is not None:
                    write_overlay(overlay_place(Path(args.overlays), file.below, taken), detector, result)
                if page:
                    page.add(result, below=file.name)
                results.append(result._replace(image=None, map=None))
                advance(1, "")
        verdict = batch_verdict(detector, files, results, name=args.detector, groups=args.group_by)
        lines = [counted(said), *verdict_lines(verdict)]
        if page:
            held = page.write(verdict, file=args.detector, limit_mb=args.html_limit)
            lines.append(
                f"wrote {args.html}: {held.images} images, {held.small} with a small picture, {held.native} at their "
                f"own size (limit {args.html_limit:g} MB, --html-limit)"
            )
    if said[ERROR]:
        reasons = [f"  {result.reason}" for result in results if result.decision == ERROR]
        lines = [*lines, f"{said[ERROR]} of {len(results)} images cannot be used:", *reasons]
    print(printable("\n".join(lines), keep="\n"), file=sys.stderr)
    return said


def counted(said: Counter) -> str:
    """How many images had each decision."""
    return f"{sum(said.values())} images: " + ", ".join(
        f"{n} {what or 'not decided'}" for what, n in sorted(said.items())
    )


def verdict_lines(verdict: "Verdict") -> list[str]:
    """A verdict on a batch, as it is printed."""
    command = [f"  {verdict.command}"] if verdict.command else []
    return [verdict.found, f"Next: {verdict.action}", *command]


@contextlib.contextmanager
def output(path: str | None) -> Iterator[IO[str]]:
    """The file, or standard output; what is not UTF-8 in a name is written as an escape."""
    if path is None:
        if isinstance(sys.stdout, io.TextIOWrapper):
            sys.stdout.reconfigure(errors="backslashreplace")
        yield sys.stdout
        return
    with open(path, "w", encoding="utf-8", errors="backslashreplace", newline="") as file:
        yield file


def batch_verdict(
    detector: "Detector",
    files: Sequence[Listed],
    results: Sequence["Inspected"],
    *,
    name: str,
    groups: str | None = None,
) -> "Verdict":
    """What can be said of the images as a whole; `name` of the detector's file, `groups` as --group-by."""
    import numpy as np

    from gnl_jax.detection.advice import State, Verdict
    from gnl_jax.detection.grouping import part_names
    from gnl_jax.detection.inspection import ERROR
    from gnl_jax.detection.parts import largest_by_part
    from gnl_jax.detection.record import folder_drift, folder_rule
    from gnl_jax.detection.verdict import Batch, fewest_for_drift, judge_batch

    scored = [(file, result) for file, result in zip(files, results) if result.decision != ERROR]
    if not scored:
        return Verdict(State.UNKNOWN, "No image could be used.", "Look at the reasons.", "")
    record = detector.require_record()
    if record.rules.review is None:
        n, command = len(record.manifest["data"]["fit"]), _RECALIBRATE.format(shlex.quote(name))
        found = f"No rate can be guaranteed from {n} images."
        if any(result.decision == "" for _, result in scored):
            found = f"nothing is decided: no rate can be guaranteed from {n} images; --threshold SCORE decides"
        return Verdict(State.UNKNOWN, found, "Calibrate with 9 or more other good parts.", command)
    try:
        groups = group_by(groups, detector)
        named = [file.path if groups.endswith(".csv") else file.name for file, _ in scored]
        names = part_names(named, groups) if groups else [file.path for file, _ in scored]
    except ValueError as error:
        return Verdict(State.UNKNOWN, f"Drift is not known: {error}", "Say which images show the same part.", "")
    reasons = {reason: {n for n, (_, r) in zip(names, scored) if r.reason == reason} for reason in ("score", "drift")}
    batch = Batch(len(set(names)), len(reasons["score"]), len(reasons["drift"] - reasons["score"]))
    measured = [(name, result.drift) for name, (_, result) in zip(names, scored) if result.drift is not None]
    drifts = largest_by_part(np.array([d for _, d in measured], np.float32), [name for name, _ in measured])
    if drift := folder_drift(record, drifts):
        fewest = fewest_for_drift(folder_rule(record))
        batch = batch._replace(drifted=drift.small, expected=drift.expected, alarm=drift.alarm, fewest=fewest)
    return judge_batch(batch, names={"detector": name})


def overlay_place(folder: Path, below: str, taken: set[str]) -> Path:
    """Where an overlay goes: below the folder, whatever the name, and never where another one is."""
    *folders, last = [part for part in Path(below).parts if part not in ("..", "/", ".")] or ["image"]
    last = os.fsdecode(os.fsencode(last)[:_LONGEST])  # a file system takes 255 bytes
    name, n = "/".join([*folders, f"{last}.png"]), 1
    while name in taken:
        n += 1
        name = "/".join([*folders, f"{last} ({n}).png"])
    taken.add(name)
    return folder / name
