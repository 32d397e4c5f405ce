"""Remove images from a memory bank, such as one that turned out to show a bad part.

Images that came by `gnl-jax add` can be removed. Those of the first fit shaped the matching reference: removing one
takes a new fit (`gnl-jax fit --exclude`), and is refused. The bank is calibrated again, with the previous calibration
images. The old file is not touched, and the new one names it.
"""

import argparse

from gnl_jax.cli.arguments import DONE, GROUPS, check_new_file, check_out, group_by, open_detector


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of `gnl-jax remove`."""
    parser.add_argument("detector", help="the old .gnl file, of a memory bank")
    parser.add_argument("--images", required=True, nargs="+", metavar="FILE", help="images to remove")
    parser.add_argument("--out", required=True, metavar="FILE.gnl", help="the new detector")
    parser.add_argument(
        "--calibration-images", metavar="FOLDER", help="folder with all its calibration images; others are ignored"
    )
    parser.add_argument("--reason", default="", help="why they are removed, for the record")
    parser.add_argument("--group-by", metavar="REGEX|FILE.csv", help=f"{GROUPS}; by default as when it was fitted")


def run(args: argparse.Namespace) -> int:
    """Writes the detector without the images."""
    import numpy as np

    from gnl_jax.data.pixels import pixel_hash
    from gnl_jax.detection.artifact import save
    from gnl_jax.detection.inspection import reader
    from gnl_jax.detection.learn_more import remove_images
    from gnl_jax.detection.parts import GoodImages, good_images

    check_out(args.out)
    check_new_file(args.out, args.detector)
    old = open_detector(args.detector)
    dataset, read, names = old.detector.require_record().config.dataset, reader(old.detector), tuple(args.images)
    images = np.stack([read(path).image for path in names])
    calibration, grid = None, old.detector.grid
    if args.calibration_images:
        groups = group_by(args.group_by, old.detector)
        native = grid and grid.native
        calibration = good_images(args.calibration_images, dataset, group_by=groups, native=native)
    new = remove_images(
        old.detector,
        GoodImages(images, names, names, tuple(map(pixel_hash, images))),
        parent=old.sha256,
        calibration=calibration,
        reason=args.reason,
        say=print,
    )
    save(new, args.out)
    print(f"wrote {args.out}")
    return DONE
