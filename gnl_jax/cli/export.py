"""Write a detector as a compiled program that runs without this package, proven equal to it.

Beside FILE.gnlx goes gnl_runtime.py, which loads it with jax, numpy and flatbuffers alone.
"""

import argparse
from pathlib import Path

from gnl_jax.cli.arguments import DONE, UNREADABLE, UsageError, add_skip, check_out, check_usable, listed, open_detector


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("detector", help="a .gnl file")
    parser.add_argument("--out", required=True, metavar="FILE.gnlx")
    parser.add_argument("--images", required=True, metavar="FOLDER", help="good images that both are compared on")
    parser.add_argument("--input-size", metavar="HxW", help="put the resize of images of this size inside the program")
    parser.add_argument("--limit", type=int, default=8, metavar="N", help="images that are compared (8)")
    add_skip(parser)


def run(args: argparse.Namespace) -> int:
    from gnl_jax.data.load import folder_options
    from gnl_jax.data.pixels import read_file, read_image
    from gnl_jax.deploy.export import export_detector, write_runtime
    from gnl_jax.detection.preprocess import record_reader

    size = None
    if args.input_size:
        try:
            height, width = (int(side) for side in args.input_size.lower().split("x"))
        except ValueError:
            raise UsageError(f"--input-size: got {args.input_size!r}, expected HxW such as 480x640") from None
        size = (height, width)
    check_out(args.out)
    detector = open_detector(args.detector).detector
    files = [file.path for file in listed([args.images])[: args.limit]]
    skipped = check_usable(record_reader(detector.require_record()), files, skip=args.skip_unreadable)
    dataset = detector.require_record().config.dataset.copy_and_resolve_references()
    dataset.root = args.images
    reading = folder_options(dataset, seed=0)
    images = [
        read_image(read_file(path), name=path, white=reading.white, alpha=reading.alpha)
        for path in files
        if path not in skipped
    ]
    export_detector(detector, args.out, images=images, input_size=size)
    print(f"wrote {args.out} and {write_runtime(Path(args.out).absolute().parent)}")
    return UNREADABLE if skipped else DONE
