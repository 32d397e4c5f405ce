"""--marks: the images that a person marked on a page of `gnl-jax score --html`, instead of folders."""

import argparse
from typing import TYPE_CHECKING

from gnl_jax.cli.arguments import UsageError
from gnl_jax.text import printable

if TYPE_CHECKING:
    from gnl_jax.detection.marks import Marks


def add_good(parser: argparse.ArgumentParser, *, help: str) -> None:
    """--good and --marks, one of which is needed."""
    group = parser.add_mutually_exclusive_group(required=True)
    group.add_argument("--good", metavar="FOLDER", help=help)
    group.add_argument("--marks", metavar="FILE.csv", help="marks exported by a page of gnl-jax score --html, instead")


def marked(args: argparse.Namespace, *, biased: str) -> "Marks | None":
    """The marks, which are counted aloud; None without --marks.

    biased: what marks of some of the batch's images would bias; "" where they would bias nothing. Raises UsageError for
    marks that are not enough, ValueError for a file that cannot be used.
    """
    from gnl_jax.detection.marks import read_marks, require_all

    if args.marks is None:
        return None
    if getattr(args, "bad", None):
        raise UsageError("--bad: got it beside --marks, which say what is bad")
    marks = read_marks(args.marks)
    counts = f"{len(marks.good)} good, {len(marks.bad)} bad, {len(marks.unsure)} unsure, {marks.unmarked} not marked"
    print(printable(f"{args.marks}: {counts}"))
    try:
        if biased:
            require_all(marks, purpose=biased)
    except ValueError as error:
        raise UsageError(f"--marks: {error}") from error
    if not marks.good:
        raise UsageError(f"--marks: {args.marks!r} has no image marked good, expected some")
    return marks
