"""See beforehand what a change of light, focus or camera will do to a detector.

Good parts that it has not seen, and defective ones if you have them, are shown to it as they are, under every kind and
severity of a simulated change, and under changes that you photographed yourself (--shifted). A page and a JSON file say
how many good parts are stopped and how many defects are still found.
"""

import argparse
import os
from pathlib import Path

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
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("detector", help="a .gnl file")
    parser.add_argument("--good", required=True, metavar="FOLDER", help="good parts that it has not seen")
    parser.add_argument("--bad", metavar="FOLDER", help="defective parts, best in one folder for each kind of defect")
    parser.add_argument(
        "--shifted", action="append", default=[], type=named_folder, metavar="NAME=FOLDER", help=_SHIFTED
    )
    parser.add_argument("--baseline", metavar="FILE.gnl", help="another detector on the same images")
    parser.add_argument("--out", metavar="FILE.html", help="by default DETECTOR.shift.html; JSON goes beside it")
    parser.add_argument("--group-by", metavar="REGEX|FILE.csv", help=f"{GROUPS}; by default as when it was fitted")
    parser.add_argument("--families", metavar="NAME,...", help="simulated changes, by default all")
    parser.add_argument("--severities", default="1,2,3,4,5", metavar="N,...")
    parser.add_argument(
        "--limit", type=int, default=20, metavar="N", help="good images for each simulated condition (20)"
    )
    parser.add_argument(
        "--limit-bad", type=int, default=10, metavar="N", help="defective ones, spread over the kinds (10)"
    )
    parser.add_argument("--seed", type=int, default=0)
    add_skip(parser)


_SHIFTED = "parts under a real change: good/ beside a folder for each kind of defect, or good images alone; may repeat"


def run(args: argparse.Namespace) -> int:
    from gnl_jax.data.listing import list_images
    from gnl_jax.detection.preprocess import record_reader
    from gnl_jax.files import write_atomic
    from gnl_jax.images.corruptions import FAMILIES, SEVERITIES
    from gnl_jax.report.html import write_page
    from gnl_jax.report.shift import ShiftOptions, shift_report

    families = tuple(args.families.split(",")) if args.families else tuple(FAMILIES)
    if unknown := set(families) - set(FAMILIES):
        raise UsageError(f"--families: got {sorted(unknown)[0]!r}, expected some of {', '.join(FAMILIES)}")
    severities = tuple(int(s) if s.strip().isdecimal() else 0 for s in args.severities.split(","))
    if set(severities) - set(SEVERITIES):
        raise UsageError(f"--severities: got {args.severities!r}, expected some of 1,2,3,4,5")
    if min(args.limit, args.limit_bad) < 1:
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
    opened = open_detector(args.detector)
    baseline = open_detector(args.baseline) if args.baseline else None
    folders = [args.good, args.bad, *dict(args.shifted).values()]
    files = [os.path.join(folder, name) for folder in folders if folder for name in list_images(folder)]
    skipped = check_usable(record_reader(opened.detector.require_record()), files, skip=args.skip_unreadable)
    report = shift_report(
        opened.detector,
        good=args.good,
        bad=args.bad,
        shifted=dict(args.shifted),
        baseline=baseline.detector if baseline else None,
        group_by=group_by(args.group_by, opened.detector),
        file=opened.path.name,
        sha256=opened.sha256,
        exclude=skipped,
        options=ShiftOptions(families, severities, args.limit, args.limit_bad, args.seed),
    )
    write_page(page, report)
    write_atomic(page.with_suffix(".json"), _json(report))
    for line in report["summary"]:
        print(line)
    print(f"wrote {page} and {page.with_suffix('.json')}")
    return UNREADABLE if skipped else DONE


def _json(report: dict) -> str:
    """The report without its pictures."""
    import json

    def plain(value):
        if isinstance(value, dict):
            return {k: plain(v) for k, v in value.items() if k not in ("thumbnail", "image", "overlay")}
        return [plain(item) for item in value] if isinstance(value, list | tuple) else value

    return json.dumps(plain(report), indent=2, allow_nan=False) + "\n"
