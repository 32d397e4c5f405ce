"""Fit a detector's thresholds to a new condition, from good parts that were made under it.

Take consecutive parts that were verified to be good, those included that the detector stops: picking only the easy ones
makes a promise about easy ones. The weights stay; the old file is not touched, and the new one names it.
"""

import argparse
from pathlib import Path

from gnl_jax.cli.arguments import DONE, GROUPS, UsageError, add_rates, open_detector, rates


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("detector", help="the old .gnl file")
    parser.add_argument("--good", required=True, metavar="FOLDER", help="images of good parts of the new condition")
    parser.add_argument("--out", required=True, metavar="FILE.gnl", help="the new detector")
    parser.add_argument("--condition", required=True, help="what changed, such as 'exposure 6'")
    parser.add_argument("--reason", default="", help="why it is recalibrated, for the record")
    parser.add_argument("--bad", metavar="FOLDER", help="defective parts of the new condition: are they still found?")
    parser.add_argument("--group-by", metavar="REGEX|FILE.csv", help=f"{GROUPS}; by default as when it was fitted")
    add_rates(parser)


def run(args: argparse.Namespace) -> int:
    from gnl_jax.detection.parts import good_images
    from gnl_jax.detection.recalibrate import recalibrate

    if Path(args.out).exists() and Path(args.out).samefile(args.detector):
        raise UsageError("--out: got the old detector, expected another file")
    old = open_detector(args.detector)
    record = old.detector.known
    group_by = record.manifest["data"]["group_by"] if args.group_by is None else args.group_by
    good = good_images(args.good, record.config.dataset, group_by=group_by)
    result = recalibrate(
        old.detector,
        good,
        parent=old.sha256,
        condition=args.condition,
        reason=args.reason,
        **rates(args),
        say=print,
    )
    if args.bad:
        print(detection_rates(old.detector, result.detector, args.bad))
    result.detector.save(args.out)
    print(f"wrote {args.out}")
    return DONE


def detection_rates(old, new, folder: str) -> str:
    """How many defective parts both detectors stop and reject, in words."""
    from gnl_jax.detection.detector import predict
    from gnl_jax.detection.parts import good_images
    from gnl_jax.detection.threshold import NG, OK

    bad = good_images(folder, old.known.config.dataset).images
    counts = []
    for detector in (old, new):
        said = [decision.decision for decision in detector.decide(predict(detector, bad, maps=False))]
        counts.append((sum(s != OK for s in said), sum(s == NG for s in said)))
    (stopped, rejected), (now_stopped, now_rejected) = counts
    return (
        f"{len(bad)} defective parts: {stopped} were stopped before ({rejected} NG), {now_stopped} are now "
        f"({now_rejected} NG)"
    )
