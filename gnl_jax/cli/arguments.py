"""What several commands take, and what they return."""

import argparse
import glob
import hashlib
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from gnl_jax.detection.detector import Detector

DONE, FAILED, USAGE, UNREADABLE, REFUSED, FOUND_NG = 0, 1, 2, 3, 4, 10

GROUPS = "images with the same match, or with the same second column in a table file,part, show the same part"


class UsageError(ValueError):
    """Arguments that do not go together; exit status 2."""


class Opened(NamedTuple):
    """A detector, the SHA-256 of its file and the file."""

    detector: "Detector"
    sha256: str
    path: Path


def open_detector(path: str, *, matching: str | None = None) -> Opened:
    """Reads a detector and tries its probe on this device. Raises ArtifactError naming the file."""
    from gnl_jax.detection.artifact import load

    detector = load(path, matching=matching)
    return Opened(detector, hashlib.sha256(Path(path).read_bytes()).hexdigest(), Path(path))


def add_rates(parser: argparse.ArgumentParser) -> None:
    """--ng, --review and --confidence."""
    parser.add_argument("--ng", metavar="RATE", help="good parts that may be rejected, such as 0.01 or 1%%")
    parser.add_argument("--review", metavar="RATE", help="good parts that may be stopped for review, such as 5%%")
    parser.add_argument(
        "--confidence",
        metavar="LEVEL",
        type=float,
        help="hold the rates with this probability for this calibration, such as 0.95; by default on average",
    )


def rates(args: argparse.Namespace) -> dict:
    """ng, review and confidence as `make_rules` takes them."""
    from gnl_jax.detection.threshold import parse_rate

    given = {name: getattr(args, name) for name in ("ng", "review")}
    exact = {name: None if text is None else parse_rate(text) for name, text in given.items()}
    return exact | {"confidence": args.confidence}


class Listed(NamedTuple):
    """A file to inspect: its path, as it is named in the output, and where below a folder its overlay goes."""

    path: str
    below: str


def listed(inputs: Sequence[str]) -> list[Listed]:
    """Files for inputs that are files, folders (all images below) or patterns such as "line3/*.png", in their order.

    A file that does not exist stays in the list: it becomes a row that says so. Raises UsageError for a pattern or a
    folder without images.
    """
    from gnl_jax.data.listing import scan

    files = []
    for given in inputs:
        if os.path.isdir(given):
            names, _ = scan(given)
            found = [Listed(os.path.join(given, name), os.path.join(_base(given, inputs), name)) for name in names]
        elif glob.has_magic(given) and not os.path.exists(given):
            found = [Listed(path, os.path.basename(path)) for path in sorted(glob.glob(given, recursive=True))]
        else:
            found = [Listed(given, os.path.basename(given))]
        if not found:
            raise UsageError(f"{given!r}: no images there")
        files += found
    return files


def _base(folder: str, inputs: Sequence[str]) -> str:
    """Overlays of one input keep its subfolders; with several, each has a folder of its own."""
    return os.path.basename(os.path.abspath(folder)) if len(inputs) > 1 else ""


def named_folder(text: str) -> tuple[str, str]:
    """ "name=folder" -> (name, folder), for argparse."""
    name, equals, folder = text.partition("=")
    if not (name and equals and os.path.isdir(folder)):
        raise argparse.ArgumentTypeError(f"got {text!r}, expected name=folder")
    return name, folder
