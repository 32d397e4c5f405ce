"""Fit a detector's thresholds to a new condition, from good parts that were made under it.

Take consecutive parts that were verified to be good, those included that the detector stops: picking only the easy ones
makes a promise about easy ones. The weights stay; the old file is not touched, and the new one names it. The rates are
the old detector's, unless others are given.
"""

import argparse
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from gnl_jax.cli.arguments import (
    DONE,
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

if TYPE_CHECKING:
    from gnl_jax.detection.detector import Detector


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("detector", help="the old .gnl file")
    parser.add_argument("--good", required=True, metavar="FOLDER", help="images of good parts of the new condition")
    parser.add_argument("--out", required=True, metavar="FILE.gnl", help="the new detector")
    parser.add_argument("--condition", required=True, help="what changed, such as 'exposure 6'")
    parser.add_argument("--reason", default="", help="why it is recalibrated, for the record")
    parser.add_argument("--bad", metavar="FOLDER", help="defective parts of the new condition: are they still found?")
    parser.add_argument("--group-by", metavar="REGEX|FILE.csv", help=f"{GROUPS}; by default as when it was fitted")
    add_rates(parser)
    add_skip(parser)


def run(args: argparse.Namespace) -> int:
    from gnl_jax.detection.artifact import save
    from gnl_jax.detection.parts import good_images
    from gnl_jax.detection.preprocess import record_reader
    from gnl_jax.detection.recalibrate import recalibrate

    check_out(args.out)
    old = open_detector(args.detector)
    if Path(args.out).exists() and Path(args.out).samefile(args.detector):
        raise UsageError("--out: got the old detector, expected another file")
    groups = group_by(args.group_by, old.detector)
    record = old.detector.require_record()
    good_files, bad_files = files_of(args.good), files_of(args.bad, defective=True) if args.bad else []
    skipped = check_usable(record_reader(record), [*good_files, *bad_files], skip=args.skip_unreadable)
    good = good_images(
        args.good, record.config.dataset, group_by=groups, exclude=sorted(set(skipped).intersection(good_files))
    )
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
    save(result.detector, args.out)
    print(f"wrote {args.out}")
    if args.bad:
        usable = [path for path in bad_files if path not in skipped]
        print(detection_rates(old.detector, result.detector, usable))
    return UNREADABLE if skipped else DONE


def files_of(folder: str, *, defective: bool = False) -> list[str]:
    """The image files below a folder; of defective parts, without those in good/."""
    from gnl_jax.data.listing import list_images
    from gnl_jax.report.shift_files import defect_files

    if defective:
        return list(defect_files(folder).paths)
    return [os.path.join(folder, name) for name in list_images(folder)]


def detection_rates(old: "Detector", new: "Detector", paths: Sequence[str]) -> str:
    """How many images of defective parts both detectors stop and reject, in words."""
    from gnl_jax.detection.inspection import inspect
    from gnl_jax.detection.threshold import NG, REVIEW

    counts = []
    for detector in (old, new):
        said = [result.decision for result in inspect(detector, paths)]
        counts.append((said.count(NG) + said.count(REVIEW), said.count(NG)))
    (stopped, rejected), (now_stopped, now_rejected) = counts
    return (
        f"{len(paths)} images of defective parts: {stopped} were stopped before ({rejected} NG), {now_stopped} are now "
        f"({now_rejected} NG)"
    )
