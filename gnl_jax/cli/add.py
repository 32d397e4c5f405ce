"""Learn from more good parts without starting over: a memory bank grows by their images.

The matching reference and the drift reference stay. The bank is calibrated again, with the previous calibration images
(--calibration-images) or, without them, with some of the new ones, which are set aside and not learned from. The old
file is not touched, and the new one names it. --marks adds the images that were marked good on the page of a batch,
such as false alarms.
"""

import argparse

from gnl_jax.cli.arguments import (
    DONE,
    GROUPS,
    UsageError,
    add_rates,
    check_new_file,
    check_out,
    group_by,
    open_detector,
)
from gnl_jax.cli.marked import add_good, marked


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of `gnl-jax add`."""
    parser.add_argument("detector", help="the old .gnl file, of a memory bank")
    add_good(parser, help="images of good parts that it has not seen")
    parser.add_argument("--out", required=True, metavar="FILE.gnl", help="the new detector")
    parser.add_argument(
        "--calibration-images", metavar="FOLDER", help="folder with all its calibration images; others are ignored"
    )
    parser.add_argument("--calibration", type=int, metavar="N", help="parts of --good that are set aside to calibrate")
    parser.add_argument("--reason", default="", help="why they are added, for the record")
    parser.add_argument("--group-by", metavar="REGEX|FILE.csv", help=f"{GROUPS}; by default as when it was fitted")
    add_rates(parser)


def run(args: argparse.Namespace) -> int:
    """Writes the detector that has learned from the new images."""
    from gnl_jax.detection.artifact import save
    from gnl_jax.detection.learn_more import add_images
    from gnl_jax.detection.parts import good_images, read_files, read_good

    check_out(args.out)
    check_new_file(args.out, args.detector)
    if args.calibration_images:
        refuse_beside_calibration(args)
    marks = marked(
        args, biased="" if args.calibration_images else "the calibration, which --calibration-images leaves as it is"
    )
    old = open_detector(args.detector)
    dataset, groups = old.detector.require_record().config.dataset, group_by(args.group_by, old.detector)
    calibration, grid = None, old.detector.grid
    native = grid.native if grid else None
    if args.calibration_images:
        calibration = good_images(args.calibration_images, dataset, group_by=groups, native=native)
    good = (
        read_files(marks.good, dataset, below=marks.below, group_by=groups, native=native)
        if marks
        else read_good(args.good, dataset, group_by=groups, native=native)
    )
    new = add_images(
        old.detector,
        good,
        parent=old.sha256,
        calibration=calibration,
        count=args.calibration,
        ng=args.ng,
        review=args.review,
        confidence=args.confidence,
        group_by=groups,
        reason=args.reason,
        say=print,
    )
    save(new, args.out)
    print(f"wrote {args.out}")
    return DONE


def refuse_beside_calibration(args: argparse.Namespace) -> None:
    """UsageError for what chooses another calibration than that of --calibration-images."""
    for name in ("calibration", "ng", "review", "confidence"):
        if getattr(args, name) is not None:
            raise UsageError(f"--{name}: got it beside --calibration-images, whose images and rates are as they were")
