"""Decide on images: OK, REVIEW or NG for each, with score, p-value, drift and where the defect is.

Every input has its row, in the order given; a file that cannot be read is ERROR, never OK. A summary goes to standard
error. With "-" names are read from standard input, one a line, and each gets its line as soon as it is scored. --watch
scores the files that arrive in a folder, once each is complete; started again, it resumes: each has exactly one line.
"""

import argparse
import dataclasses
import os
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gnl_jax.cli.arguments import (
    DONE,
    FOUND_NG,
    GROUPS,
    UNREADABLE,
    UsageError,
    add_rates,
    check_out,
    listed,
    open_detector,
)
from gnl_jax.cli.score_files import counted, output, overlay_place, run_files
from gnl_jax.cli.streams import read_names, score_names, standard_input, watch

if TYPE_CHECKING:
    from gnl_jax.detection.detector import Detector


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of `gnl-jax score`."""
    parser.add_argument("detector", help="a .gnl file")
    parser.add_argument("inputs", nargs="*", help="images, folders of images, patterns in quotes, or - for names")
    parser.add_argument("--watch", metavar="FOLDER", help="score files as they arrive there; JSON lines, to --out")
    parser.add_argument(
        "--settle",
        type=float,
        default=1.0,
        metavar="SECONDS",
        help="a file is complete after no change for this (1)",
    )
    parser.add_argument("--stop-after", type=float, metavar="SECONDS", help="end --watch after this without a new file")
    parser.add_argument("--out", metavar="FILE", help="by default standard output")
    parser.add_argument("--format", choices=("csv", "jsonl"), help="by default csv; jsonl with - and --watch")
    parser.add_argument("--overlays", metavar="FOLDER", help="write each image with its score map; subfolders are kept")
    parser.add_argument(
        "--html", metavar="FILE.html", help="write a page of the images by rank, to look at and to mark"
    )
    parser.add_argument(
        "--html-limit",
        type=float,
        default=64,
        metavar="MB",
        help="of its pictures, the highest-ranked first (64)",
    )
    parser.add_argument(
        "--group-by", metavar="REGEX|FILE.csv", help=f"for the folder's drift: {GROUPS}; by default as when fitted"
    )
    parser.add_argument(
        "--threshold", type=float, metavar="SCORE", help="NG above it; for a detector with too few images for a rate"
    )
    add_rates(parser)
    parser.add_argument("--fail-on", choices=("ng", "review"), help="exit status 10 if a part is NG (or REVIEW)")


def run(args: argparse.Namespace) -> int:
    """Scores the files, the names on standard input, or what arrives in the folder."""
    check_together(args)
    check_out(args.out)
    check_out(args.html, option="--html")
    if args.watch:
        return exit_status(args, run_watch(args))
    if args.inputs == ["-"]:
        return exit_status(args, run_names(args))
    files = listed(args.inputs)
    return exit_status(args, run_files(args, files, chosen(open_detector(args.detector).detector, args)))


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
    if args.html and (args.watch or "-" in args.inputs):
        raise UsageError("--html: expected images, folders or patterns: the page is of a batch that has an end")
    if args.html and not (args.html.endswith(".html") and args.html_limit > 0):
        raise UsageError("--html: expected a name that ends with .html, and a limit of more than 0 MB")
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

    detector = chosen(open_detector(args.detector).detector, args)
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

    detector = chosen(open_detector(args.detector).detector, args)
    show = overlay_writer(args, detector, below=lambda result: os.path.basename(result.path))
    with output(args.out) as out:
        write = WRITERS[args.format or "jsonl"](out)

        def both(result) -> None:
            show(result)
            write(result)

        said = score_names(detector, read_names(standard_input()), both, keep=bool(args.overlays))
    print(counted(said), file=sys.stderr)
    return said


def overlay_writer(args: argparse.Namespace, detector, *, below) -> Callable:
    """Writes the overlay of a result with an image, where `below` says."""
    if not args.overlays:
        return lambda result: None
    from gnl_jax.report.overlay import write_overlay

    taken: set[str] = set()

    def show(result) -> None:
        if result.image is not None:
            write_overlay(overlay_place(Path(args.overlays), below(result), taken), detector, result)

    return show


def chosen(detector: "Detector", args: argparse.Namespace) -> "Detector":
    """The detector with the rates and the threshold of the arguments.

    Raises UsageError where they do not go together with the detector or --fail-on, RateError for rates that its
    calibration cannot support.
    """
    rates = {name: getattr(args, name) for name in ("ng", "review", "confidence") if getattr(args, name) is not None}
    if rates:
        detector = with_rates(detector, rates)
    record = detector.require_record()
    if args.threshold is not None:
        try:
            return dataclasses.replace(detector, record=record.with_threshold(args.threshold))
        except ValueError as error:
            raise UsageError(f"--{error}") from error
    if args.fail_on and record.rules.review is None:
        raise UsageError("--fail-on: the detector states no rate and decides nothing, expected --threshold as well")
    return detector


def with_rates(detector: "Detector", rates: dict[str, Any]) -> "Detector":
    """The detector with other rates, which are said on standard error."""
    from gnl_jax.detection.record import describe_rules

    if detector.require_record().rules.review is None:
        raise UsageError(
            f"--{next(iter(rates))}: the detector was made from too few images to state a rate, expected --threshold, "
            "or a calibrated detector (gnl-jax recalibrate)"
        )
    detector = detector.with_rates(**rates)
    print(describe_rules(detector.require_record()), file=sys.stderr)
    return detector
