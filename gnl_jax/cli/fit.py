"""Make a detector from a folder of good parts.

Some of the images are for training, the others calibrate the false-alarm rate. After an interruption the same command
resumes. It also writes a page: what was found in the folder, which rates more images would support, and the ten most
unusual of your good images. If a bad part is among them, leave it out with --exclude.
"""

import argparse
import dataclasses
import os
import shutil
import sys
from pathlib import Path

from gnl_jax.cli import teacher
from gnl_jax.cli.arguments import (
    DONE,
    GROUPS,
    UNREADABLE,
    UsageError,
    add_rates,
    add_skip,
    check_out,
    check_usable,
    rate,
)
from gnl_jax.named_methods import BANKS, METHODS
from gnl_jax.text import printable, shell_word

PRECISIONS = ("float32", "tf32", "bfloat16")
NO_MAPS = ("image_bank", "dinov2_image_bank")
UNTRAINED = tuple(name for name in BANKS if name not in NO_MAPS)
TRAINED = ("bank_and_student", *(name for name, (fields, _) in METHODS.items() if "system" not in fields))


def add_arguments(
    parser: argparse.ArgumentParser,
    *,
    good: str = "good",
    good_help: str = "folder of images of good parts, with any subfolders",
    out: str = "FILE.gnl",
) -> None:
    """Adds the arguments of `gnl-jax fit`; `fit-all` has its own for folder and output."""
    parser.add_argument(good, help=good_help)
    parser.add_argument("--out", required=True, metavar=out, help="the detector; training is kept in FILE.gnl.run")
    add_rates(parser)
    parser.add_argument(
        "--drift-rate", type=rate, metavar="RATE", help="good parts that drift alone may flag, on top of --review"
    )
    parser.add_argument(
        "--calibration",
        type=int,
        metavar="N",
        help="calibration parts; by default chosen from the number of good parts",
    )
    parser.add_argument("--group-by", default="", metavar="REGEX|FILE.csv", help=GROUPS)
    parser.add_argument("--exclude", action="append", default=[], metavar="FILE", help="leave an image out; may repeat")
    parser.add_argument("--roi", type=roi, metavar="X,Y,W,H", help="inspect only this rectangle, in the images' pixels")
    parser.add_argument("--mask", metavar="FILE", help="inspect where this image is not black; of the images' size")
    parser.add_argument(
        "--region-relative",
        action="store_true",
        help="stretch --roi or --mask with the image; by default images of another size than theirs are errors",
    )
    parser.add_argument(
        "--windows", type=int, default=0, metavar="N", help="inspect each image in N x N overlapping windows"
    )
    parser.add_argument(
        "--window-size",
        type=int,
        default=0,
        metavar="PX",
        help="the same in square windows of this side, in the image's own pixels; resized only if --size differs",
    )
    parser.add_argument(
        "--overlap", type=int, metavar="PX", help="of windows, at least; by default an eighth of a window"
    )
    teacher.add_arguments(parser)
    parser.add_argument(
        "--size",
        type=int,
        help="side of images, or windows, as they are inspected, by default 256, with DINOv2 448",
    )
    parser.add_argument(
        "--precision",
        choices=PRECISIONS,
        default="float32",
        help="of products; others than float32 are several times as fast on a GPU, but such a detector loads only on a "
        "device that rounds in the same way",
    )
    parser.add_argument(
        "--method",
        choices=(*UNTRAINED, *TRAINED),
        help="by default matched_bank, with DINOv2 dinov2_bank: memory banks, which need no training; gnl and the "
        "others train a student",
    )
    parser.add_argument("--epochs", type=int, default=0, help="of training; by default about 3,200 images in all")
    parser.add_argument("--time-budget", type=float, metavar="MINUTES", help="train no longer than this")
    parser.add_argument("--batch-size", type=int, metavar="N", help="images at once, at most; by default what fits")
    parser.add_argument("--memory", type=float, metavar="GB", help="that may be taken; by default what is free")
    parser.add_argument("--student", default="", metavar="FILE", help="a checkpoint of the published code; no training")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--white", type=float, default=0.0, help="value that is white in images of more than 8 bits")
    parser.add_argument("--alpha", default="error", help="of transparent images: error, drop, or a background R,G,B")
    add_skip(parser)


def run(args: argparse.Namespace) -> int:
    """Fits one detector; writes it and its page."""
    from gnl_jax.detection.artifact import save
    from gnl_jax.detection.fit import fit
    from gnl_jax.detection.survey import lines, survey_folder
    from gnl_jax.detection.verdict import next_check
    from gnl_jax.report.fit_page import learned_from_one_part, write_fit_page

    if args.roi and args.mask:
        raise UsageError("--roi and --mask: expected one of the two")
    check_out(args.out)
    method = teacher.method_of(args)
    if args.student and method in UNTRAINED:
        raise UsageError(f"--student: {method} has none; expected --method gnl or another that trains one")
    if (args.student or method in UNTRAINED) and (args.epochs or args.time_budget is not None):
        what = "--student" if args.student else f"--method {method}"
        raise UsageError(f"{what}: nothing is trained, so there are no --epochs and no --time-budget")
    out = Path(args.out)
    if not Path(args.good).is_dir():
        raise UsageError(f"{args.good!r}: no such folder")
    config, options, workdir = configuration(args), fit_options(args), Path(f"{out}.run")
    skipped = unreadable(args, config) if args.skip_unreadable else ()
    options = dataclasses.replace(options, exclude=(*options.exclude, *skipped))
    survey = survey_folder(args.good, config.dataset, group_by=options.group_by, exclude=options.exclude)
    print(printable("\n".join(lines(survey)), keep="\n"))
    detector = fit(args.good, config, options=options, workdir=workdir, say=print)
    save(detector, out)
    review = detector.require_record().rules.review
    following = next_check(review.rate, str(out)) if review else []
    page = write_fit_page(
        detector,
        args.good,
        Path(f"{out}.fit.html"),
        survey=survey,
        options=options,
        command=" ".join(map(shell_word, ["gnl-jax", *args.words])),
        following=following[-1].strip() if following else "",
    )
    if not args.student:
        shutil.rmtree(workdir)
    print("\n".join([f"wrote {out}", *following]))
    ask = "does one of the images on that page show a bad part? Leave it out with --exclude"
    if learned_from_one_part(detector):
        ask = "it has what was found; with one training part, its images cannot be ranked"
    print(f"look at {page}: {ask}", file=sys.stderr)
    return UNREADABLE if skipped else DONE


def trains(args: argparse.Namespace) -> bool:
    """Whether the method of these arguments trains a network."""
    return not args.student and teacher.method_of(args) not in UNTRAINED


def unreadable(args: argparse.Namespace, config) -> tuple[str, ...]:
    """The files that cannot be used, of those that are not excluded."""
    from gnl_jax.data.listing import list_images
    from gnl_jax.detection.preprocess import make_reader

    names = [os.path.join(args.good, name) for name in list_images(args.good) if name not in args.exclude]
    return check_usable(make_reader(config.dataset), names, skip=True)


def roi(text: str) -> tuple[int, int, int, int]:
    """A rectangle, for argparse."""
    from gnl_jax.detection.region import parse_roi

    try:
        return parse_roi(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def fit_options(args: argparse.Namespace):
    """`FitOptions` of the arguments."""
    from gnl_jax.detection.options import FitOptions
    from gnl_jax.detection.region import Region

    region = None
    if args.roi or args.mask:
        region = Region(roi=args.roi, mask=args.mask, relative=args.region_relative)
    return FitOptions(
        ng=args.ng,
        review=args.review,
        confidence=args.confidence,
        drift=args.drift_rate,
        calibration=args.calibration,
        group_by=args.group_by,
        exclude=tuple(args.exclude),
        region=region,
        windows=args.windows,
        window_size=args.window_size,
        overlap=args.overlap,
        epochs=args.epochs,
        time_budget=args.time_budget,
        batch_size=args.batch_size,
        memory=args.memory,
        student=args.student,
    )


def configuration(args: argparse.Namespace):
    """The configuration of the arguments; says which teacher it has."""
    from gnl_jax.config import set_method
    from gnl_jax.detection.options import inspection_config

    config = set_method(inspection_config(), method := teacher.method_of(args), like="mvtec")
    if method == "rd4ad":
        config.eval.matching = ("none",)  # with matching it is "atta"
    config.seed, config.precision = args.seed, args.precision
    config.dataset.white, config.dataset.alpha = args.white, args.alpha
    teacher.set_teacher(config, args)
    return config
