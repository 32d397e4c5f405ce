"""Can this detector run on the line, and what will a change of light, focus or camera do to it?

Shows it good parts that it has not seen, and defective ones: as they are, under simulated shifts of every kind, and
under changes that you photographed yourself (--shifted). Prints one verdict and the next step, and writes a page and a
JSON file. docs/verdicts.md has the rules.

time: with the default numbers of parts, 28 shifts of up to 46 good and 46 defective parts: 2,576 images
"""

import argparse
import os
from pathlib import Path
from typing import TYPE_CHECKING

from gnl_jax.cli.arguments import (
    DONE,
    GROUPS,
    UNREADABLE,
    UsageError,
    add_skip,
    check_out,
    check_usable,
    group_by,
    named_folder,
    open_detector,
    probability,
    rate,
)
from gnl_jax.cli.marked import add_good, marked
from gnl_jax.text import printable

if TYPE_CHECKING:
    from gnl_jax.detection.detector import Detector
    from gnl_jax.detection.limits import Limits


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of `gnl-jax shift`."""
    parser.add_argument("detector", help="a .gnl file")
    add_good(parser, help="good parts that it has not seen")
    parser.add_argument("--bad", metavar="FOLDER", help="defective parts, best in one folder for each kind of defect")
    parser.add_argument(
        "--shifted", action="append", default=[], type=named_folder, metavar="NAME=FOLDER", help=_SHIFTED
    )
    parser.add_argument("--baseline", metavar="FILE.gnl", help="another detector on the same images")
    parser.add_argument("--out", metavar="FILE.html", help="by default DETECTOR.shift.html; JSON goes beside it")
    parser.add_argument("--group-by", metavar="REGEX|FILE.csv", help=f"{GROUPS}; by default as when it was fitted")
    parser.add_argument("--families", metavar="NAME,...", help="simulated changes, by default all")
    parser.add_argument("--severities", default="1,3", metavar="N,...", help="of 1 to 5; by default 1,3")
    parser.add_argument(
        "--limit",
        type=int,
        metavar="N",
        help="good parts for each simulated shift; by default enough to pass with one false alarm (46 for 10 %%)",
    )
    parser.add_argument(
        "--limit-bad", type=int, metavar="N", help="defective parts; by default enough to pass with one lost (46)"
    )
    parser.add_argument(
        "--acceptable",
        type=rate,
        metavar="RATE",
        help="false-alarm rate that good parts may have; by default twice the detector's target",
    )
    parser.add_argument(
        "--margin", type=probability, default=0.10, metavar="SHARE", help="defects that a shift may lose (0.10)"
    )
    parser.add_argument("--least-caught", type=probability, default=0.5, metavar="SHARE", help="defects to catch (0.5)")
    parser.add_argument("--matchings", action="store_true", help="count the detector's other matching, too")
    parser.add_argument("--seed", type=int, default=0)
    add_skip(parser)


_SHIFTED = "parts under a real change: good/ beside a folder for each kind of defect, or good images alone; may repeat"


def run(args: argparse.Namespace) -> int:
    """Writes the report and prints the verdict."""
    from gnl_jax.data.listing import list_images
    from gnl_jax.detection.preprocess import record_reader
    from gnl_jax.detection.verdict import parts_for_verdict
    from gnl_jax.files import write_atomic
    from gnl_jax.images.corruptions import FAMILIES, SEVERITIES
    from gnl_jax.report.html import write_page
    from gnl_jax.report.shift import shift_report
    from gnl_jax.report.shift_files import ShiftOptions, marked_files

    families = tuple(args.families.split(",")) if args.families else tuple(FAMILIES)
    if unknown := set(families) - set(FAMILIES):
        raise UsageError(f"--families: got {sorted(unknown)[0]!r}, expected some of {', '.join(FAMILIES)}")
    severities = tuple(int(s) if s.strip().isdecimal() else 0 for s in args.severities.split(","))
    if set(severities) - set(SEVERITIES):
        raise UsageError(f"--severities: got {args.severities!r}, expected some of 1,2,3,4,5")
    if any(limit is not None and limit < 1 for limit in (args.limit, args.limit_bad)):
        raise UsageError("--limit and --limit-bad: expected 1 or more")
    page = Path(args.out or f"{args.detector}.shift.html")
    if page.suffix != ".html":
        raise UsageError(f"--out: got {args.out!r}, expected a name that ends with .html")
    check_out(str(page))
    names = [name for name, _ in args.shifted]
    if len(set(names)) < len(names) or "clean" in names:
        raise UsageError(
            f"--shifted: got the names {', '.join(names)}, expected different ones, and none of them clean"
        )
    marks = marked(args, biased="the rates")
    opened = open_detector(args.detector)
    baseline = open_detector(args.baseline) if args.baseline else None
    folders = [args.good, args.bad, *dict(args.shifted).values()]
    files = [os.path.join(folder, name) for folder in folders if folder for name in list_images(folder)]
    files += [*marks.good, *marks.bad] if marks else []
    skipped = check_usable(record_reader(opened.detector.require_record()), files, skip=args.skip_unreadable)
    limits = acceptable(opened.detector, args)
    enough, enough_bad = parts_for_verdict(limits)
    drawn = (args.limit or enough, args.limit_bad or enough_bad)
    groups = group_by(args.group_by, opened.detector)
    good, bad = args.good, args.bad
    if marks:
        good = marked_files(marks.good, "", below=marks.below, group_by=groups)
        bad = marked_files(marks.bad, "defect", below=marks.below, group_by=groups)
    report = shift_report(
        opened.detector,
        good=good,
        bad=bad,
        shifted=dict(args.shifted),
        baseline=baseline.detector if baseline else None,
        group_by=groups,
        file=opened.path.name,
        sha256=opened.sha256,
        exclude=skipped,
        options=ShiftOptions(families, severities, *drawn, args.seed, args.matchings),
        limits=limits,
    )
    write_page(page, report)
    write_atomic(page.with_suffix(".json"), _json(report))
    verdict, (within, of) = report["verdict"], report["numbers"]["within"]
    lines = [
        f"{verdict['state'].upper()}: {verdict['found']}",
        f"{within} of {of} conditions are within limits.",
        f"Next: {verdict['action']}",
        f"  {verdict['command']}",
        f"wrote {page} and {page.with_suffix('.json')}",
    ]
    print(printable("\n".join(lines), keep="\n"))
    return UNREADABLE if skipped else DONE


def acceptable(detector: "Detector", args: argparse.Namespace) -> "Limits":
    """The limits that the arguments ask for, around the detector's target."""
    from gnl_jax.detection.limits import make_limits

    target = detector.require_record().require_rules().review.rate
    try:
        return make_limits(target, acceptable=args.acceptable, margin=args.margin, least_caught=args.least_caught)
    except ValueError as error:
        raise UsageError(f"--{error}") from error


def _json(report: dict) -> str:
    """The report without its pictures."""
    import json

    def plain(value):
        if isinstance(value, dict):
            return {k: plain(v) for k, v in value.items() if k not in ("thumbnail", "image", "overlay")}
        return [plain(item) for item in value] if isinstance(value, list | tuple) else value

    return json.dumps(plain(report), indent=2, allow_nan=False) + "\n"
