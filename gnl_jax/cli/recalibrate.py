"""Fit a detector's thresholds to a new condition, from good parts that were made under it.

Take consecutive parts that were verified to be good, flagged ones included; without these the rate is guaranteed for
easy parts only. The weights stay; the old file is not touched, and the new one names it. The rates are the old
detector's, unless others are given. Old and new decide on the same parts, and the verdict says which one to use; a new
detector that probably misses too many defects is written only with --force. --marks takes the parts from the page of a
batch, on which every image must be marked.
"""

import argparse
import os
import shlex
from collections.abc import Collection
from pathlib import Path
from typing import TYPE_CHECKING

from gnl_jax.cli.arguments import (
    DONE,
    FAILED,
    GROUPS,
    UNREADABLE,
    UsageError,
    add_rates,
    add_skip,
    check_out,
    check_usable,
    group_by,
    open_detector,
)
from gnl_jax.cli.marked import add_good, marked
from gnl_jax.text import printable

if TYPE_CHECKING:
    from gnl_jax.detection.detector import Detector
    from gnl_jax.detection.limits import Limits
    from gnl_jax.detection.marks import Marks
    from gnl_jax.detection.parts import GoodImages
    from gnl_jax.detection.recalibrate import Compared
    from gnl_jax.detection.record import Record


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of `gnl-jax recalibrate`."""
    parser.add_argument("detector", help="the old .gnl file")
    add_good(parser, help="images of good parts of the new condition")
    parser.add_argument("--out", required=True, metavar="FILE.gnl", help="the new detector")
    parser.add_argument("--condition", required=True, help="what changed, such as 'exposure 6'")
    parser.add_argument("--reason", default="", help="why it is recalibrated, for the record")
    parser.add_argument("--bad", metavar="FOLDER", help="defective parts of the new condition: are they still caught?")
    parser.add_argument("--group-by", metavar="REGEX|FILE.csv", help=f"{GROUPS}; by default as when it was fitted")
    parser.add_argument("--force", action="store_true", help="write the new detector whatever the verdict")
    add_rates(parser)
    add_skip(parser)


def run(args: argparse.Namespace) -> int:
    """Writes the recalibrated detector unless it probably misses too many defects, and prints the verdict."""
    from gnl_jax.detection.artifact import save
    from gnl_jax.detection.preprocess import record_reader
    from gnl_jax.detection.recalibrate import compare, recalibrate

    check_out(args.out)
    old = open_detector(args.detector)
    if Path(args.out).exists() and Path(args.out).samefile(args.detector):
        raise UsageError("--out: got the old detector, expected another file")
    marks = marked(args, biased="the threshold")
    groups = group_by(args.group_by, old.detector)
    record = old.detector.require_record()
    good_files, bad_files = (marks.good, marks.bad) if marks else folder_files(args)
    skipped = check_usable(record_reader(record), [*good_files, *bad_files], skip=args.skip_unreadable)
    good = read_images(args, marks, record, groups, skipped)
    result = recalibrate(
        old.detector,
        good,
        parent=old.sha256,
        condition=args.condition,
        reason=args.reason,
        ng=args.ng,
        review=args.review,
        confidence=args.confidence,
        group_by=groups,
        say=print,
    )
    if record.rules.review is None:  # it decided on nothing, so there is nothing to compare with
        save(result.detector, args.out)
        print(f"wrote {args.out}")
        return UNREADABLE if skipped else DONE
    found = compare(
        old.detector, result, good, **defects(args, marks, groups, skipped), limits=old_limits(old.detector)
    )
    lines = [f"cannot be read: {line}" for line in found.unreadable]
    lines += report(found, args, size=record.config.dataset.size)
    print(printable("\n".join(lines), keep="\n"))
    if found.blind and not args.force:
        print(f"{args.out} is not written; --force writes it")
        return FAILED
    save(result.detector, args.out)
    print(f"wrote {args.out}")
    return UNREADABLE if skipped or found.unreadable else DONE


def folder_files(args: argparse.Namespace) -> tuple[list[str], tuple[str, ...]]:
    """The image files below --good, and those of --bad without its good/."""
    from gnl_jax.data.listing import list_images
    from gnl_jax.report.shift_files import defect_files

    good = [os.path.join(args.good, name) for name in list_images(args.good)]
    return good, defect_files(args.bad).paths if args.bad else ()


def read_images(
    args: argparse.Namespace, marks: "Marks | None", record: "Record", groups: str, skipped: Collection[str]
) -> "GoodImages":
    """The good images, each picture once: those of the folder by name, marked ones in the order of their batch."""
    from gnl_jax.detection.parts import good_images, read_files, without_copies

    dataset, native = record.config.dataset, record.grid.native if record.grid else None
    if marks:
        paths = [p for p in marks.good if p not in skipped]
        return without_copies(read_files(paths, dataset, below=marks.below, group_by=groups, native=native))
    inside = [path for path in skipped if path.startswith(os.path.join(args.good, ""))]
    return good_images(args.good, dataset, exclude=sorted(inside), group_by=groups, native=native)


def defects(
    args: argparse.Namespace, marks: "Marks | None", groups: str, skipped: Collection[str]
) -> dict[str, tuple[str, ...]]:
    """Files of defective parts, and the parts that they show."""
    from gnl_jax.report.shift_files import defect_files, marked_files

    if marks:
        files = marked_files(marks.bad, "defect", below=marks.below, group_by=groups)
    elif args.bad:
        files = defect_files(args.bad, group_by=groups)
    else:
        return {}
    files = files.without(skipped)
    return {"bad": files.paths, "bad_parts": files.parts}


def old_limits(detector: "Detector") -> "Limits":
    """What is acceptable of the old detector: the defaults around its target."""
    from gnl_jax.detection.limits import make_limits

    return make_limits(detector.require_record().require_rules().review.rate)


def report(found: "Compared", args: argparse.Namespace, *, size: int) -> list[str]:
    """Old and new side by side, the verdict and the next command."""
    from gnl_jax.detection.verdict import Choice

    old, new = found.old, found.new
    flagged = [_of(counts.by_score + counts.by_drift, counts.good) for counts in (old, new)]
    lines = [
        "                      old      new",
        f"good parts flagged    {flagged[0]:<8} {flagged[1]} (new: its own calibration parts)",
    ]
    if old.bad:
        lines.append(f"defects caught        {_of(old.caught, old.bad):<8} {_of(new.caught, new.bad)}")
        lines.append(f"caught by old, missed by new: {new.lost}; the reverse: {new.gained}")
    good = shlex.quote(args.good) if args.good else "GOOD"
    command = {
        Choice.KEEP: f"gnl-jax score {shlex.quote(args.detector)} IMAGES --fail-on review",
        Choice.REPLACE: f"gnl-jax score {shlex.quote(args.out)} IMAGES --fail-on review",
        Choice.REFIT: f"gnl-jax fit {good} --size {size} --out {shlex.quote(args.out)}",
    }[found.choice]
    return [*lines, f"VERDICT: {found.choice}", "Next:", f"  {command}"]


def _of(k: int, n: int) -> str:
    return f"{k}/{n}"
