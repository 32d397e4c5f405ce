"""Decide on images: OK, REVIEW or NG for each, with score, p-value, drift and where the defect is.

Every input has its row, in the order given; a file that cannot be read is ERROR, never OK. A summary goes to standard
error.
"""

import argparse
import contextlib
import dataclasses
import os
import sys
from collections import Counter
from collections.abc import Iterator
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
from gnl_jax.text import printable

_LONGEST = 230  # bytes of a file's name that its overlay keeps


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("detector", help="a .gnl file")
    parser.add_argument("inputs", nargs="+", help="images, folders of images, or patterns in quotes")
    parser.add_argument("--out", metavar="FILE", help="by default standard output")
    parser.add_argument("--format", choices=("csv", "jsonl"), default="csv")
    parser.add_argument("--overlays", metavar="FOLDER", help="write each image with its score map; subfolders are kept")
    parser.add_argument(
        "--group-by", metavar="REGEX|FILE.csv", help=f"for the folder's drift: {GROUPS}; by default as when fitted"
    )
    parser.add_argument(
        "--threshold", type=float, metavar="SCORE", help="NG above it; for a detector of too few images to state a rate"
    )
    parser.add_argument("--fail-on", choices=("ng", "review"), help="exit status 10 if a part is NG (or REVIEW)")


def run(args: argparse.Namespace) -> int:
    from gnl_jax.detection.inspection import ERROR, inspect
    from gnl_jax.detection.rows import WRITERS
    from gnl_jax.detection.threshold import NG, REVIEW
    from gnl_jax.progress import progress_bar
    from gnl_jax.report.overlay import write_overlay

    files = listed(args.inputs)
    check_out(args.out)
    detector = with_threshold(open_detector(args.detector).detector, args)
    results, said, taken = [], Counter(), set()
    with _output(args.out) as out, progress_bar("images", len(files)) as advance:
        write = WRITERS[args.format](out)
        for file, result in zip(files, inspect(detector, [f.path for f in files], keep=bool(args.overlays))):
            write(result)
            said[result.decision] += 1
            if result.image is not None:
                write_overlay(_free(Path(args.overlays), file.below, taken), detector, result)
            results.append(result._replace(image=None, map=None))
            advance(1, "")
    print(
        printable("\n".join(summary(detector, files, results, said, groups=args.group_by)), keep="\n"), file=sys.stderr
    )
    if said[NG] + (said[REVIEW] if args.fail_on == "review" else 0) and args.fail_on:
        return FOUND_NG
    return UNREADABLE if said[ERROR] else DONE


def with_threshold(detector, args: argparse.Namespace):
    """The detector with --threshold; UsageError where it does not go together with the detector or --fail-on."""
    record = detector.require_record()
    if args.threshold is not None:
        try:
            return dataclasses.replace(detector, record=record.with_threshold(args.threshold))
        except ValueError as error:
            raise UsageError(f"--{error}") from error
    if args.fail_on and record.rules.review is None:
        raise UsageError("--fail-on: the detector states no rate and decides nothing, expected --threshold as well")
    return detector


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
    from gnl_jax.detection.parts import largest_by_part
    from gnl_jax.detection.record import folder_drift

    lines = [
        f"{sum(said.values())} images: " + ", ".join(f"{n} {what or 'not decided'}" for what, n in sorted(said.items()))
    ]
    if said[""]:
        n = len(detector.require_record().manifest["data"]["fit"])
        lines.append(f"nothing is decided: no rate can be guaranteed from {n} images; --threshold SCORE decides")
    scored = [(file, result) for file, result in zip(files, results) if result.drift is not None]
    try:
        groups = group_by(groups, detector)
        named = [file.path if groups.endswith(".csv") else file.name for file, _ in scored]
        names = part_names(named, groups) if groups else [file.path for file, _ in scored]
    except ValueError as error:
        return [*lines, f"whether the folder has drifted is not known: {error}"]
    drift = folder_drift(
        detector.require_record(), largest_by_part(np.array([result.drift for _, result in scored]), names)
    )
    if drift and drift.alarm:
        lines.append(
            f"DRIFT: {drift.small} of {drift.n} parts are as unlike those learned from as {drift.expected:.1f} would "
            "be by chance; the light or the camera has changed, and the promised rates do not hold"
        )
    return lines


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
