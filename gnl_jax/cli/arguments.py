"""What several commands take, and what they return."""

import argparse
import glob
import hashlib
import os
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from gnl_jax import console
from gnl_jax.machine import keep_threads_apart
from gnl_jax.text import printable

if TYPE_CHECKING:
    from fractions import Fraction

    from gnl_jax.detection.detector import Detector
    from gnl_jax.detection.preprocess import Read

DONE, FAILED, USAGE, UNREADABLE, REFUSED, FOUND_NG = 0, 1, 2, 3, 4, 10

GROUPS = "images with the same match, or with the same second column in a table file,part, show the same part"


class UsageError(ValueError):
    """Arguments that do not go together; exit status 2."""


class Opened(NamedTuple):
    """A detector, the SHA-256 of its file and the file."""

    detector: "Detector"
    sha256: str
    path: Path


def open_detector(path: str) -> Opened:
    """Reads a detector and tries its probe on this device. Raises ArtifactError naming the file.

    Its compiled program is kept for the next command (`console.programs_folder`), and the first image after a rest is
    not late (`machine.keep_threads_apart`).
    """
    from gnl_jax.detection.artifact import load

    detector = load(path, programs=console.programs_folder())
    keep_threads_apart()
    return Opened(detector, hashlib.sha256(Path(path).read_bytes()).hexdigest(), Path(path))


def check_out(path: str | None, *, option: str = "--out") -> None:
    """Raises UsageError, before anything is computed, for a file that cannot be written where it is to go."""
    if path is None:
        return
    if not (folder := Path(path).absolute().parent).is_dir():
        raise UsageError(f"{option}: no folder {folder}")
    if Path(path).is_dir():
        raise UsageError(f"{option}: {path} is a folder, expected the name of a file")
    try:
        tempfile.TemporaryFile(dir=folder).close()  # rights alone do not tell: the disk may be read-only
    except OSError as error:
        raise UsageError(f"{option}: nothing can be written to {folder}: {error.strerror}") from error


def add_skip(parser: argparse.ArgumentParser) -> None:
    """--skip-unreadable."""
    parser.add_argument(
        "--skip-unreadable", action="store_true", help="continue without files that cannot be used; exit status 3"
    )


def check_usable(read: "Read", paths: Sequence[str], *, skip: bool) -> tuple[str, ...]:
    """The files that cannot be used, to be left out; says on stderr which and why.

    Raises UnusableFiles, which names all of them, unless `skip`, and where none is usable.
    """
    from gnl_jax.data.decode import UnusableFiles
    from gnl_jax.detection.preprocess import unusable

    if not (found := unusable(read, paths)):
        return ()
    some = len(found) < len(paths)
    remedy = " (--skip-unreadable leaves them out)" if some and not skip else ""
    error = UnusableFiles(found, total=len(paths), what="images", remedy=remedy)
    if not (skip and some):
        raise error
    print("left out: " + printable(str(error), keep="\n"), file=sys.stderr)
    return tuple(path for path, _ in found)


def check_new_file(path: str, old: str) -> None:
    """Raises UsageError where --out is the old detector's file."""
    if Path(path).exists() and Path(old).exists() and Path(path).samefile(old):
        raise UsageError("--out: got the old detector, expected another file")


def rate(text: str) -> "Fraction":
    """A rate, for argparse."""
    from gnl_jax.detection.threshold import parse_rate

    try:
        return parse_rate(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def probability(text: str) -> float:
    """A number between 0 and 1, for argparse."""
    try:
        number = float(text)
    except ValueError:
        number = 0.0
    if not 0 < number < 1:
        raise argparse.ArgumentTypeError(f"got {text!r}, expected more than 0 and less than 1, such as 0.95")
    return number


def add_rates(parser: argparse.ArgumentParser) -> None:
    """--ng, --review and --confidence."""
    parser.add_argument("--ng", type=rate, metavar="RATE", help="good parts that may be rejected, such as 0.01 or 1%%")
    parser.add_argument(
        "--review", type=rate, metavar="RATE", help="good parts that may be flagged at all, such as 5%%"
    )
    parser.add_argument(
        "--confidence",
        metavar="LEVEL",
        type=probability,
        help="guarantee the rates with this probability for this calibration, such as 0.95; by default on average",
    )


def group_by(given: str | None, detector: "Detector") -> str:
    """--group-by, by default as when the detector was fitted. Raises UsageError for a table that is not here."""
    if given is not None:
        return given
    known = detector.require_record().manifest["data"]["group_by"]
    if known.endswith(".csv") and not os.path.isfile(known):
        raise UsageError(f"the detector was fitted with --group-by {known!r}, which is not here; expected --group-by")
    return known


class Listed(NamedTuple):
    """A file to inspect.

    Attributes:
        path: as it is named in the output.
        name: below the input that it is of.
        below: where below a folder its overlay goes.
    """

    path: str
    name: str
    below: str


def listed(inputs: Sequence[str]) -> list[Listed]:
    """Files for inputs that are files, folders (all images below) or patterns such as "line3/*.png", in their order.

    A file that does not exist stays in the list: it becomes a row that says so. Raises UsageError for a pattern or a
    folder without images.
    """
    from gnl_jax.data.good import images_to_score

    files = []
    for given in inputs:
        if os.path.isdir(given):
            try:
                names = images_to_score(given)
            except ValueError as error:
                raise UsageError(str(error)) from error
            found = [
                Listed(os.path.join(given, name), name, os.path.join(_base(given, inputs), name)) for name in names
            ]
        elif glob.has_magic(given) and not os.path.exists(given):
            found = [Listed(path, *[os.path.basename(path)] * 2) for path in sorted(glob.glob(given, recursive=True))]
        else:
            found = [Listed(given, *[os.path.basename(given)] * 2)]
        if not found:
            raise UsageError(f"{given!r}: no images there")
        files += found
    return files


def _base(folder: str, inputs: Sequence[str]) -> str:
    """Overlays of one input keep its subfolders; with several, each has a folder of its own."""
    return os.path.basename(os.path.abspath(folder)) if len(inputs) > 1 else ""


def named_folder(text: str) -> tuple[str, str]:
    """Splits "name=folder" into (name, folder), for argparse."""
    name, equals, folder = text.partition("=")
    if not (name and equals):
        raise argparse.ArgumentTypeError(f"got {text!r}, expected name=folder")
    if not os.path.isdir(folder):
        raise argparse.ArgumentTypeError(f"{name}: no folder {folder!r}")
    return name, folder
