"""Which method is best for these parts? Fits several on the same division of your parts, and recommends one.

A third of the good parts is held out from every fit and judges the methods: detections of your defects (--bad), or of
simulated ones, at the same false-alarm rate, unshifted and under simulated shifts. DIR/compare.html shows it,
DIR/compare.json has the numbers. The same command resumes: finished detectors stay, an interrupted training resumes.
docs/howto/choose-a-method.md has the rule.
"""

import argparse
import dataclasses
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gnl_jax.cli import teacher
from gnl_jax.cli.arguments import (
    DONE,
    FAILED,
    GROUPS,
    UNREADABLE,
    add_skip,
    check_usable,
    rate,
)
from gnl_jax.cli.compare_fits import fitted, is_finished, judged, plan_digest
from gnl_jax.cli.compare_plans import Plan, command, families_of, fit_words, make_plans, own_words
from gnl_jax.cli.failures import in_one_sentence
from gnl_jax.cli.fit import TRAINED
from gnl_jax.text import printable

if TYPE_CHECKING:
    from gnl_jax.detection.judging import Division
    from gnl_jax.report.compared_parts import Conditions
    from gnl_jax.report.shift_files import Files


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of `gnl-jax compare`."""
    parser.add_argument("good", help="folder of images of good parts, with any subfolders")
    parser.add_argument("--out", required=True, metavar="DIR", help="folder for the page and the detectors")
    parser.add_argument("--bad", metavar="FOLDER", help="defective parts; by default defects are simulated")
    parser.add_argument(
        "--methods",
        metavar="NAME,...",
        default="",
        help="by default the memory banks, which need no training; also " + ", ".join(TRAINED),
    )
    parser.add_argument(
        "--minutes",
        type=float,
        metavar="N",
        help="for all methods: a method begins only while time is left, and training gets the rest of the time",
    )
    parser.add_argument(
        "--rate",
        type=rate,
        default="5%",
        metavar="RATE",
        help="false-alarm rate at which the methods are compared (5%%)",
    )
    parser.add_argument("--families", metavar="NAME,...", help="simulated shifts, by default five of them")
    parser.add_argument("--group-by", default="", metavar="REGEX|FILE.csv", help=GROUPS)
    parser.add_argument("--exclude", action="append", default=[], metavar="FILE", help="leave an image out; may repeat")
    teacher.add_arguments(parser)
    parser.add_argument("--size", type=int, help="side of inspected images, by default 256, with DINOv2 448")
    parser.add_argument("--epochs", type=int, default=0, help="of training; by default about 3,200 images in all")
    parser.add_argument("--batch-size", type=int, metavar="N", help="images at once, at most; by default what fits")
    parser.add_argument("--memory", type=float, metavar="GB", help="that may be taken; by default what is free")
    parser.add_argument("--seed", type=int, default=0, help="of the division, the fits and the simulations")
    parser.add_argument("--white", type=float, default=0.0, help="value that is white in images of more than 8 bits")
    parser.add_argument("--alpha", default="error", help="of transparent images: error, drop, or a background R,G,B")
    add_skip(parser)


def run(args: argparse.Namespace) -> int:
    """Fits and judges the methods; writes the page and prints the recommendation and a table."""
    plans, out = make_plans(args), Path(args.out)
    from gnl_jax.detection.judging import near_copies_of_fit
    from gnl_jax.files import write_atomic
    from gnl_jax.report.compare_page import compare_page, comparison, table

    division, conditions, skipped = prepared(args, plans)
    if warning := near_copies_of_fit(division):
        print(printable(warning), file=sys.stderr)
    rows, left_out, failed = compared(args, plans, division, conditions)
    if not rows:
        raise ValueError("no method could be fitted: " + "; ".join(f"{name}: {why}" for name, why in failed.items()))
    found = comparison(
        rows,
        conditions.shown,
        rate=args.rate,
        left_out=left_out,
        failed=failed,
        folders={"good": args.good, "bad": args.bad or ""},
        counts={"images for the fit": len(division.fit.names), "parts for the fit": len(set(division.fit.parts))},
        commands={
            "fit": {name: command(fit_words(args, name, "part.gnl")) for name in rows},
            "rest": command(own_words(args, [plan.method for plan in plans])) if left_out or failed else "",
        },
    )
    write_atomic(out / "compare.html", compare_page(found))
    write_atomic(out / "compare.json", _json(found))
    lines = [found["recommendation"]["text"], table(found), *(found["notes"])]
    lines += [f"wrote {out / 'compare.html'} and {out / 'compare.json'}"]
    if found["next"]:
        lines += ["Next:", f"  {found['next']}"]
    print(printable("\n".join(lines), keep="\n"))
    return FAILED if failed else UNREADABLE if skipped else DONE


def trains(args: argparse.Namespace) -> bool:
    """Whether any of the methods trains a network."""
    return any(method in TRAINED for method in args.methods.split(","))


def prepared(args: argparse.Namespace, plans: Sequence[Plan]) -> tuple["Division", "Conditions", tuple[str, ...]]:
    """The division of the good parts, what is shown to the methods, and the files that cannot be used."""
    from gnl_jax.data.listing import list_images
    from gnl_jax.detection.judging import divide_to_judge
    from gnl_jax.detection.parts import check_distinct, good_images
    from gnl_jax.detection.preprocess import make_reader
    from gnl_jax.report.compared_parts import Conditions, shown_parts
    from gnl_jax.report.shift_files import defect_files

    # Copies are told by their pixels: what is a copy at the smallest size is left out at every size.
    dataset = min((plan.config.dataset for plan in plans), key=lambda dataset: dataset.size)
    bad: Files | None = defect_files(args.bad, group_by=args.group_by) if args.bad else None
    paths = [os.path.join(args.good, name) for name in list_images(args.good)]
    left_out = {os.path.normpath(os.path.join(args.good, name)) for name in args.exclude} | set(args.exclude)
    files = [path for path in paths if os.path.normpath(path) not in left_out] + list(bad.paths if bad else ())
    reader = make_reader(dataset)
    skipped = check_usable(reader, files, skip=args.skip_unreadable)
    exclude = (*args.exclude, *sorted(set(paths).intersection(skipped)))
    good = good_images(args.good, dataset, group_by=args.group_by, exclude=exclude)
    division = divide_to_judge(good, seed=args.seed)
    if bad is not None:
        bad = bad.without(skipped)
        if not bad.paths:
            check_usable(reader, skipped, skip=False)  # raises: none is left
    shown = shown_parts(args.good, division.judging, bad, families=families_of(args), seed=args.seed)
    conditions = Conditions(shown)
    if bad is not None:
        _, hashes = conditions.load(dataset, None).hashes
        check_distinct(hashes, bad.names, good.hashes, what="given as good images, too")
    return division, conditions, skipped


def compared(
    args: argparse.Namespace, plans: Sequence[Plan], division: "Division", conditions: "Conditions"
) -> tuple[dict[str, dict[str, Any]], list[str], dict[str, str]]:
    """(what is known of each method, those left out for lack of time, those that failed and why)."""
    from gnl_jax.data.listing import list_images

    inside = set(division.fit.names)
    exclude = tuple(name for name in list_images(args.good) if name not in inside)
    rows: dict[str, dict[str, Any]] = {}
    left_out: list[str] = []
    failed: dict[str, str] = {}
    begun = time.monotonic()
    for number, plan in enumerate(plans, start=1):
        plan = plan._replace(options=dataclasses.replace(plan.options, exclude=exclude))
        digest, minutes = plan_digest(plan, division), None
        if args.minutes is not None and not is_finished(plan, digest):
            minutes = args.minutes - (time.monotonic() - begun) / 60
            if minutes <= 0:
                _say(f"{plan.method}: left out, the {args.minutes:g} minutes are over")
                left_out.append(plan.method)
                continue
            minutes /= len(plans) + 1 - number  # those that are left share it
        _say(f"{number} of {len(plans)}: {plan.method}")
        try:
            rows[plan.method] = _row(plan, args.good, digest, conditions, minutes)
        except (ValueError, OSError) as error:
            failed[plan.method] = str(error).splitlines()[0]
            _say(f"error: {plan.method}: {error}")
    return rows, left_out, failed


def _row(plan: Plan, folder: str, digest: str, conditions: "Conditions", minutes: float | None) -> dict[str, Any]:
    def say(text: str) -> None:
        _say(f"  {plan.method}: {text}")

    row: dict[str, Any] = {}

    def fit_and_judge() -> int:
        detector, page = fitted(plan, folder, digest, minutes=minutes, say=say)
        row.update(judged(plan, detector, conditions, page, say=say))
        return DONE

    in_one_sentence(fit_and_judge)
    return row


def _say(text: str) -> None:
    print(printable(text, keep="\n"), file=sys.stderr, flush=True)


def _json(found: dict[str, Any]) -> str:
    import json

    return json.dumps(found, indent=2, allow_nan=False) + "\n"
