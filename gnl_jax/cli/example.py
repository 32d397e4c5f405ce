"""Write an example product to try the other commands on: generated photographs of a plate, good and defective.

The photographs are rendered, so you may share them. FOLDER/lamp_a has the layout of MVTec AD: good
parts to fit a detector on, other good and defective parts, and masks. FOLDER/lamp_b shows the same test parts under a
new lamp, and other good parts to recalibrate with.
"""

import argparse
import os

from gnl_jax.cli.arguments import DONE, UsageError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of `gnl-jax example`."""
    parser.add_argument("folder", help="to write; must not exist, or be empty")
    parser.add_argument("--size", type=int, default=256, help="side of the images in pixels (256)")
    parser.add_argument("--good", type=int, default=200, metavar="N", help="good parts to fit on (200)")
    parser.add_argument("--test-good", type=int, default=46, metavar="N", help="good parts to test on (46)")
    parser.add_argument("--defects", type=int, default=12, metavar="N", help="parts of each of the 4 defects (12)")
    parser.add_argument(
        "--new-good", type=int, default=60, metavar="N", help="other good parts under the new lamp (60)"
    )
    parser.add_argument("--seed", type=int, default=0, help="another seed gives other parts (0)")


def run(args: argparse.Namespace) -> int:
    """Writes the folders and prints the command that comes next."""
    from gnl_jax.data.product import Counts, write_product
    from gnl_jax.progress import progress_bar

    try:
        counts = Counts(args.good, args.test_good, args.defects, args.new_good)
    except ValueError as error:
        raise UsageError(f"--{error}".replace("_", "-")) from error
    with progress_bar("photographing parts", counts.parts) as advance:
        written = write_product(args.folder, counts, size=args.size, seed=args.seed, advance=advance)
    folder = os.path.join(args.folder, "lamp_a")
    print(f"wrote {written} images to {args.folder}")
    print(f"Next:\n  gnl-jax fit {os.path.join(folder, 'train', 'good')} --out plate.gnl")
    return DONE
