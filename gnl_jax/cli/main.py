"""gnl-jax: from a folder of good parts to decisions.

exit status: 0 done; 1 it failed; 2 wrong usage, or a rate that takes more images; 3 some images could not be used: all
are named, and none is decided on or counted; 4 the detector's file was refused; 10 a part was NG (score --fail-on ng);
130 interrupted
"""

import argparse
import os
import sys
from collections.abc import Sequence

from gnl_jax import console
from gnl_jax.cli import add, compare, example, export, fit, fit_all, info, recalibrate, remove, score, shift, weights
from gnl_jax.cli.arguments import FAILED, REFUSED, UNREADABLE, USAGE, UsageError
from gnl_jax.cli.failures import in_one_sentence
from gnl_jax.machine import numpy_settings
from gnl_jax.version import __version__

COMMANDS = {
    "example": example,
    "fit": fit,
    "fit-all": fit_all,
    "compare": compare,
    "score": score,
    "shift": shift,
    "recalibrate": recalibrate,
    "add": add,
    "remove": remove,
    "export": export,
    "info": info,
    "weights": weights,
}
KEPT_UP_TO = 128  # pixels: side of the images with which training keeps its memory


def parser() -> argparse.ArgumentParser:
    """All commands and their arguments; each is a module with `add_arguments` and `run(args) -> exit status`."""
    top = argparse.ArgumentParser(
        prog="gnl-jax", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    top.add_argument("--version", action="version", version=f"gnl-jax {__version__}")
    commands = top.add_subparsers(dest="command", required=True, metavar="command")
    for name, module in COMMANDS.items():
        summary = (module.__doc__ or "").partition("\n")[0]
        command = commands.add_parser(
            name, help=summary, description=module.__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
        )
        module.add_arguments(command)
    return top


def main(argv: Sequence[str] | None = None) -> int:
    """Runs a command; its exit status."""
    args = parser().parse_args(argv)
    args.words = sys.argv[1:] if argv is None else list(argv)
    return console.run(lambda: in_one_sentence(lambda: COMMANDS[args.command].run(args)), status=exit_status)


def script() -> int:
    """The console command: `main`, in a process that is prepared for what takes long, or for deciding fast."""
    if (command := sys.argv[1:2] and sys.argv[1]) in ("fit", "fit-all", "compare"):
        args, trains = parser().parse_args(), compare.trains if command == "compare" else fit.trains
        kept = trains(args) and (args.size or KEPT_UP_TO + 1) <= KEPT_UP_TO
        console.keep_memory(console.KEPT_MEMORY if kept else console.ONE_HEAP)
    if command == "score":
        os.environ.update(numpy_settings() | os.environ)
    return main()


def exit_status(error: Exception) -> int:
    """What an error that was expected means to a caller."""
    from gnl_jax.data.decode import UnusableFiles
    from gnl_jax.detection.container import ArtifactError
    from gnl_jax.detection.threshold import RateError

    if isinstance(error, UnusableFiles):
        return UNREADABLE
    if isinstance(error, ArtifactError):
        return REFUSED
    return USAGE if isinstance(error, RateError | UsageError) else FAILED


if __name__ == "__main__":
    sys.exit(script())
