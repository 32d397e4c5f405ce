"""What `gnl-jax compare` is to fit and how: methods, their plans, and the commands of each in words."""

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from gnl_jax.cli import fit as cli_fit
from gnl_jax.cli import teacher
from gnl_jax.cli.arguments import UsageError, check_out, rate
from gnl_jax.cli.fit import TRAINED, UNTRAINED
from gnl_jax.named_methods import DINOV2_BANKS
from gnl_jax.text import shell_word

if TYPE_CHECKING:
    from ml_collections import ConfigDict

    from gnl_jax.detection.options import FitOptions

RATE = "5%"  # of good parts flagged, at which detections are compared
# Options that a `fit` takes too, by their names in the namespace, with what stands for "not given".
_PASSED: dict[str, Any] = {
    "group_by": "",
    "size": None,
    "teacher": "",
    "arch": None,
    "epochs": 0,
    "batch_size": None,
    "memory": None,
    "seed": 0,
    "white": 0.0,
    "alpha": "error",
}


class Plan(NamedTuple):
    """How a method is fitted.

    Attributes:
        method: its name.
        config: its configuration.
        options: of its fit; `exclude` has the judging images, too.
        file: of its detector.
        trains: whether it trains a network.
    """

    method: str
    config: "ConfigDict"
    options: "FitOptions"
    file: Path
    trains: bool

    @property
    def page(self) -> Path:
        """What is known of the method: fit time, memory, scores."""
        return self.file.with_suffix(".json")

    @property
    def workdir(self) -> Path:
        """The run folder of its fit, until that is finished."""
        return Path(f"{self.file}.run")


def make_plan(method: str, words: Sequence[str]) -> Plan:
    """The plan of a `gnl-jax fit` with these words. Raises UsageError naming the method."""
    parser = argparse.ArgumentParser(prog="gnl-jax fit")
    cli_fit.add_arguments(parser)
    args = parser.parse_args(words[1:])
    try:
        return Plan(
            method, cli_fit.configuration(args), cli_fit.fit_options(args), Path(args.out), cli_fit.trains(args)
        )
    except ValueError as error:
        raise UsageError(f"{method}: {error}") from error


def methods_of(args: argparse.Namespace) -> list[str]:
    """The methods that are compared, those that train nothing first. Raises UsageError for one that is none."""
    given = [name.strip() for name in args.methods.split(",")] if args.methods else []
    if not given:
        with_dinov2 = teacher.named_arch(args) in teacher.DINOV2
        given = [name for name in UNTRAINED if (name in DINOV2_BANKS) == with_dinov2]
    if unknown := [name for name in given if name not in (*UNTRAINED, *TRAINED)]:
        raise UsageError(f"--methods: got {unknown[0]!r}, expected some of {', '.join((*UNTRAINED, *TRAINED))}")
    if len(set(given)) < len(given):
        raise UsageError(f"--methods: got {args.methods!r}, expected each method once")
    return sorted(given, key=lambda name: name in TRAINED)


def make_plans(args: argparse.Namespace) -> list[Plan]:
    """Checks the arguments before an image is read; how each method is fitted."""
    methods, out = methods_of(args), Path(args.out)
    if args.minutes is not None and not args.minutes > 0:
        raise UsageError(f"--minutes: got {args.minutes:g}, expected more than 0")
    if args.epochs and not any(name in TRAINED for name in methods):
        raise UsageError("--epochs: none of the methods is trained")
    for folder in filter(None, (args.good, args.bad)):
        if not Path(folder).is_dir():
            raise UsageError(f"{folder!r}: no such folder")
    from gnl_jax.images.corruptions import FAMILIES

    if unknown := [name for name in families_of(args) if name not in FAMILIES]:
        raise UsageError(f"--families: got {unknown[0]!r}, expected some of {', '.join(FAMILIES)}")
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(f"--out: {out} cannot be created: {error.strerror}") from error
    check_out(str(out / "compare.html"))
    plans = [make_plan(name, fit_words(args, name, str(out / f"{name}.gnl"))) for name in methods]
    for plan in plans:
        read_page(plan)
    return plans


def families_of(args: argparse.Namespace) -> tuple[str, ...]:
    """The shifts, each once."""
    from gnl_jax.report.compared_parts import SHIFTS

    return tuple(dict.fromkeys(args.families.split(","))) if args.families else SHIFTS


def read_page(plan: Plan) -> dict[str, Any]:
    """What an earlier comparison wrote of the method; {} for nothing. Raises UsageError for any other file there."""
    page: Any = {}
    if plan.page.exists():
        try:
            page = json.loads(plan.page.read_text())
        except ValueError:
            page = None
        if not isinstance(page, dict) or "compared" not in page:
            raise UsageError(f"--out: {plan.page} was not written by gnl-jax compare, expected another folder")
    else:
        for other in filter(Path.exists, (plan.file, plan.workdir)):
            raise UsageError(f"--out: {other} was not written by gnl-jax compare, expected another folder")
    return page


def fit_words(args: argparse.Namespace, method: str, out: str) -> list[str]:
    """The words of a `fit` of all good images by one of the methods."""
    return ["fit", args.good, "--out", out, "--method", method, *_passed(args, epochs=method in TRAINED)]


def own_words(args: argparse.Namespace, methods: Sequence[str]) -> list[str]:
    """The words of this command for these methods, without a limit of time."""
    words = ["compare", args.good, "--out", args.out, "--methods", ",".join(methods), *_passed(args, epochs=True)]
    for name in ("bad", "families"):
        if getattr(args, name):
            words += [f"--{name}", getattr(args, name)]
    return [*words, *([] if args.rate == rate(RATE) else [f"--rate={float(args.rate):g}"])]


def _passed(args: argparse.Namespace, *, epochs: bool) -> list[str]:
    names = [name for name, none in _PASSED.items() if getattr(args, name) != none and (epochs or name != "epochs")]
    words = [word for name in names for word in (f"--{name.replace('_', '-')}", str(getattr(args, name)))]
    words += [word for name in args.exclude for word in ("--exclude", name)]
    return [*words, *(["--skip-unreadable"] if args.skip_unreadable else [])]


def command(words: Sequence[str]) -> str:
    """Words ready for a shell."""
    return " ".join(map(shell_word, ["gnl-jax", *words]))
