"""Decide on images: OK, REVIEW or NG for each, with score, p-value, drift and where the defect is.

Every input has its row, in the order given; a file that cannot be read is ERROR, never OK. A summary goes to standard
error. With "-" the names come on standard input, one a line, and each has its line as soon as it is scored. --watch
scores the files that arrive in a folder, each once it is whole; started again, it resumes: each has exactly one line.
"""

import argparse
import contextlib
import os
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO

from gnl_jax.cli.arguments import (
    DONE,
    FOUND_NG,
    GROUPS,
    UNREADABLE,
    UsageError,
    check_out,
    group_by,
    listed,
    open_detector,
)
from gnl_jax.cli.streams import read_names, score_names, standard_input, watch
from gnl_jax.text import printable

_LONGEST = 230  # bytes of a file's name that its overlay keeps


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("detector", help="a .gnl file")
    parser.add_argument("inputs", nargs="*", help="images, folders of images, patterns in quotes, or - for names")
    parser.add_argument("--watch", metavar="FOLDER", help="score files as they arrive there; JSON lines, to --out")
    parser.add_argument(
        "--settle",
        type=float,
        default=1.0,
        metavar="SECONDS",
        help="a file is whole after no change for this (1)",
    )
    parser.add_argument("--stop-after", type=float, metavar="SECONDS", help="end --watch after this without a new file")
    parser.add_argument("--out", metavar="FILE", help="by default standard output")
    parser.add_argument("--format", choices=("csv", "jsonl"), help="by default csv; jsonl with - and --watch")
    parser.add_argument("--overlays", metavar="FOLDER", help="write each image with its score map; subfolders are kept")
    parser.add_argument(
        "--group-by", metavar="REGEX|FILE.csv", help=f"for the folder's drift: {GROUPS}; by default as when fitted"
    )
    parser.add_argument("--fail-on", choices=("ng", "review"), help="exit status 10 if a part is NG (or REVIEW)")


def run(args: argparse.Namespace) -> int:
    check_together(args)
    check_out(args.out)
    if args.watch:
        return exit_status(args, run_watch(args))
    if args.inputs == ["-"]:
        return exit_status(args, run_names(args))
    return exit_status(args, run_files(args))


def check_together(args: argparse.Namespace) -> None:
    """Raises UsageError for arguments that do not go together."""
    if bool(args.watch) == bool(args.inputs):
        raise UsageError("expected images to score, - for names on standard input, or --watch FOLDER")
    if "-" in args.inputs and len(args.inputs) > 1:
        raise UsageError('expected either "-" or images')
    if args.watch and not os.path.isdir(args.watch):
        raise UsageError(f"--watch: no folder {args.watch!r}")
    if args.watch and (args.out is None or args.format == "csv"):
        raise UsageError("--watch: expected --out FILE, which gets JSON lines")
    if not args.settle > 0 or (args.stop_after is not None and not args.stop_after > 0):
        raise UsageError("--settle and --stop-after: expected more than 0 seconds")


def exit_status(args: argparse.Namespace, said: Counter) -> int:
    """What the decisions mean to a caller."""
    if args.fail_on and said["NG"] + (said["REVIEW"] if args.fail_on == "review" else 0):
        return FOUND_NG
    return UNREADABLE if said["ERROR"] else DONE


def run_watch(args: argparse.Namespace) -> Counter:
    """Scores what arrives in a folder, until interrupted."""
    from gnl_jax.detection.arrivals import Arrivals
    from gnl_jax.detection.journal import Journal

    detector = open_detector(args.detector).detector
    with Journal(args.out) as journal:
        folder = os.path.abspath(args.watch)  # so that a name stays the same, wherever the command is started again
        arrivals = Arrivals(folder, done=journal.done, settle=args.settle)
        show = overlay_writer(args, detector, below=lambda result: os.path.relpath(result.path, folder))
        print(f"watching {args.watch}; {len(journal.done)} files have their line", file=sys.stderr)
        said = watch(detector, arrivals, journal, show=show, keep=bool(args.overlays), stop_after=args.stop_after)
    print(counted(said), file=sys.stderr)
    return said


def run_names(args: argparse.Namespace) -> Counter:
    """Scores the files whose names come on standard input."""
    from gnl_jax.detection.rows import WRITERS

    detector = open_detector(args.detector).detector
    show = overlay_writer(args, detector, below=lambda result: os.path.basename(result.path))
    with _output(args.out) as out:
        write = WRITERS[args.format or "jsonl"](out)

        def both(result) -> None:
            show(result)
            write(result)

        said = score_names(detector, read_names(standard_input()), both, keep=bool(args.overlays))
    print(counted(said), file=sys.stderr)
    return said


def overlay_writer(args: argparse.Namespace, detector, *, below) -> Callable:
    """Writes the overlay of a result with an image, where `below` says."""
    from gnl_jax.report.overlay import write_overlay

    taken: set[str] = set()

    def show(result) -> None:
        if result.image is not None:
            write_overlay(_free(Path(args.overlays), below(result), taken), detector, result)

    return show


def counted(said: Counter) -> str:
    """How many images had each decision."""
    return f"{sum(said.values())} images: " + ", ".join(f"{n} {what}" for what, n in sorted(said.items()))


def run_files(args: argparse.Namespace) -> Counter:
    """Scores files, folders and patterns, with a summary."""
    from gnl_jax.detection.inspection import ERROR
    from gnl_jax.detection.rows import WRITERS
    from gnl_jax.progress import progress_bar
    from gnl_jax.report.overlay import write_overlay

    files = listed(args.inputs)
    detector = open_detector(args.detector).detector
    results, said, taken = [], Counter(), set()
    with _output(args.out) as out, progress_bar("images", len(files)) as advance:
        write = WRITERS[args.format or "csv"](out)
        for file, result in zip(files, detector.inspect([f.path for f in files], keep=bool(args.overlays))):
            write(result)
            said[result.decision] += 1
            if result.image is not None:
                write_overlay(_free(Path(args.overlays), file.below, taken), detector, result)
            results.append(result._replace(image=None, map=None))
            advance(1, "")
    lines = summary(detector, files, results, said, groups=args.group_by)
    if said[ERROR]:
        reasons = [f"  {result.reason}" for result in results if result.decision == ERROR]
        lines = [*lines, f"{said[ERROR]} of {len(results)} images cannot be used:", *reasons]
    print(printable("\n".join(lines), keep="\n"), file=sys.stderr)
    return said


@contextlib.contextmanager
def _output(path: str | None) -> Iterator[IO[str]]:
    """The file, or standard output; what is not UTF-8 in a name is written as an escape."""
    if path is None:
        sys.stdout.reconfigure(errors="backslashreplace")
        yield sys.stdout
        return
    with open(path, "w", encoding="utf-8", errors="backslashreplace", newline="") as file:
        yield file


def summary(detector, files, results, said: Counter, *, groups: str | None = None) -> list[str]:
    """Counts, and whether the images as a whole have drifted; `groups` as --group-by."""
    import numpy as np

    from gnl_jax.detection.grouping import part_names
    from gnl_jax.detection.inspection import ERROR
    from gnl_jax.detection.parts import largest_by_part
    from gnl_jax.detection.record import folder_drift, folder_rule
    from gnl_jax.detection.verdict import Batch, fewest_for_drift, judge_batch

    lines = [f"{sum(said.values())} images: " + ", ".join(f"{n} {what}" for what, n in sorted(said.items()))]
    scored = [(file, result) for file, result in zip(files, results) if result.decision != ERROR]
    if not scored:
        return lines
    try:
        groups = group_by(groups, detector)
        named = [file.path if groups.endswith(".csv") else file.name for file, _ in scored]
        names = part_names(named, groups) if groups else [file.path for file, _ in scored]
    except ValueError as error:
        return [*lines, f"Drift is not known: {error}"]
    record = detector.require_record()
    reasons = {reason: {n for n, (_, r) in zip(names, scored) if r.reason == reason} for reason in ("score", "drift")}
    batch = Batch(len(set(names)), len(reasons["score"]), len(reasons["drift"] - reasons["score"]))
    measured = [(name, result.drift) for name, (_, result) in zip(names, scored) if result.drift is not None]
    drifts = largest_by_part(np.array([d for _, d in measured], np.float32), [name for name, _ in measured])
    if drift := folder_drift(record, drifts):
        fewest = fewest_for_drift(folder_rule(record))
        batch = batch._replace(drifted=drift.small, expected=drift.expected, alarm=drift.alarm, fewest=fewest)
    verdict = judge_batch(batch, names={})
    return [*lines, verdict.found, f"Next: {verdict.action}", *([f"  {verdict.command}"] if verdict.command else [])]


def _free(folder: Path, below: str, taken: set[str]) -> Path:
    """Where an overlay goes: below the folder, whatever the name, and never where another one is."""
    *folders, last = [part for part in Path(below).parts if part not in ("..", "/", ".")] or ["image"]
    last = os.fsdecode(os.fsencode(last)[:_LONGEST])  # a file system takes 255 bytes
    name, n = "/".join([*folders, f"{last}.png"]), 1
    while name in taken:
        n += 1
        name = "/".join([*folders, f"{last} ({n}).png"])
    taken.add(name)
    return folder / name
