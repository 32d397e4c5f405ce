"""Write a detector as a program that runs without this package; it is compared with the detector before it is written.

FILE.gnlx comes with gnl_runtime.py, which runs it with only jax, numpy and flatbuffers. With --format onnx, FILE.onnx
comes with its manifest and gnl_onnx.py, which runs it with only onnxruntime and numpy.
"""

import argparse
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from gnl_jax.cli.arguments import (
    DONE,
    GROUPS,
    UNREADABLE,
    UsageError,
    add_skip,
    check_out,
    check_usable,
    group_by,
    listed,
    open_detector,
)

if TYPE_CHECKING:
    import numpy as np

FORMATS = ("stablehlo", "onnx")
TARGETS = ("onnxruntime", "openvino", "tensorrt")
LIMIT = 8


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of `gnl-jax export`."""
    parser.add_argument("detector", help="a .gnl file")
    parser.add_argument("--out", required=True, metavar="FILE", help="such as part.gnlx, or part.onnx")
    parser.add_argument("--images", required=True, metavar="FOLDER", help="good images that both are compared on")
    parser.add_argument("--format", choices=FORMATS, default="stablehlo")
    parser.add_argument("--target", choices=TARGETS, help="of --format onnx: what will run it; by default onnxruntime")
    parser.add_argument(
        "--input-size",
        metavar="HxW",
        help="put the resize of images of this size inside the program; with windows, of windows",
    )
    parser.add_argument("--limit", type=int, metavar="N", help=f"images that are compared ({LIMIT}); not with --int8")
    parser.add_argument(
        "--int8",
        action="store_true",
        help="of --format onnx: 8-bit convolutions, with their own thresholds; --images are its training images",
    )
    parser.add_argument("--calibration-images", metavar="FOLDER", help="for --int8: its calibration images")
    parser.add_argument("--group-by", metavar="REGEX|FILE.csv", help=f"for --int8: {GROUPS}; by default as when fitted")
    add_skip(parser)


def run(args: argparse.Namespace) -> int:
    """Writes the program after it was compared with the detector."""
    from gnl_jax.detection.preprocess import record_reader

    size = None
    if args.input_size:
        try:
            height, width = (int(side) for side in args.input_size.lower().split("x"))
        except ValueError:
            raise UsageError(f"--input-size: got {args.input_size!r}, expected HxW such as 480x640") from None
        size = (height, width)
    if args.target and args.format != "onnx":
        raise UsageError(f"--target: got {args.target!r} with --format {args.format}, expected --format onnx")
    if args.int8 != bool(args.calibration_images):
        raise UsageError("--int8 and --calibration-images FOLDER: got one of them, expected both or none")
    if args.int8 and (args.format != "onnx" or args.target not in (None, "onnxruntime")):
        raise UsageError("--int8: expected --format onnx --target onnxruntime")
    if args.int8 and args.limit is not None:
        raise UsageError(f"--limit: got {args.limit} with --int8, which searches all --images for training images")
    if args.group_by is not None and not args.int8:
        raise UsageError(f"--group-by: got {args.group_by!r} without --int8, which alone calibrates")
    check_out(args.out)
    opened = open_detector(args.detector)
    if not args.int8 and args.limit is None:
        args.limit = LIMIT
    paths = [file.path for file in listed([args.images])[: args.limit]]
    skipped = check_usable(record_reader(opened.detector.require_record()), paths, skip=args.skip_unreadable)
    if args.int8:
        _int8(args, opened, (image for _, image in _images(args, opened.detector, skipped)), size)
        return UNREADABLE if skipped else DONE
    shown = list(_images(args, opened.detector, skipped))
    names, images = [name for name, _ in shown], [image for _, image in shown]
    if args.format == "onnx":
        _onnx(args, opened, names, images, size)
        return UNREADABLE if skipped else DONE
    from gnl_jax.deploy.export import export_detector, write_runtime

    export_detector(opened.detector, args.out, images=images, input_size=size)
    print(f"wrote {args.out} and {write_runtime(Path(args.out).absolute().parent)}")
    return UNREADABLE if skipped else DONE


def _images(args: argparse.Namespace, detector, skipped: Collection[str]) -> Iterator[tuple[str, "np.ndarray"]]:
    """Names and pixels of the first images that can be used, read as the detector's were."""
    from gnl_jax.data.load import folder_options
    from gnl_jax.data.pixels import read_file, read_image

    dataset = detector.require_record().config.dataset.copy_and_resolve_references()
    dataset.root = args.images
    reading = folder_options(dataset, seed=0)
    files = [file for file in listed([args.images])[: args.limit] if file.path not in skipped]
    for file in files:
        yield (
            file.name,
            read_image(read_file(file.path), name=file.path, white=reading.white, alpha=reading.alpha),
        )


def _onnx(
    args: argparse.Namespace, opened, names: Sequence[str], images: Sequence, size: tuple[int, int] | None
) -> None:
    _require_onnx()
    from gnl_jax.deploy.onnx.export import export_onnx

    exported = export_onnx(
        opened.detector,
        args.out,
        images=images,
        names=names,
        input_size=size,
        target=args.target or "onnxruntime",
        parent=opened.sha256,
    )
    errors = ", ".join(f"{kind} {error:.1g}" for kind, error in exported.errors.items())
    model, manifest, runtime = exported.paths
    print(f"equal on {exported.images} images, each in batches of 1, 2 and 8; largest relative errors: {errors}")
    print(f"REVIEW within {exported.band.score:.1g} of a threshold of the score (relative), never OK")
    print(f"wrote {model}, {manifest} and {runtime}")


def _int8(args: argparse.Namespace, opened, images: Iterator["np.ndarray"], size: tuple[int, int] | None) -> None:
    _require_onnx()
    from gnl_jax.deploy.onnx.int8 import export_int8
    from gnl_jax.deploy.trials import check_whole
    from gnl_jax.detection.parts import good_images

    check_whole(opened.detector, "with int8")
    dataset = opened.detector.require_record().config.dataset
    groups = group_by(args.group_by, opened.detector)
    calibration = good_images(args.calibration_images, dataset, group_by=groups)
    options = {"images": images, "calibration": calibration, "input_size": size, "parent": opened.sha256}
    found = export_int8(opened.detector, args.out, say=print, **options)
    ng, review = found.thresholds
    (before, after), (slow, fast), (large, small) = found.auroc, found.seconds, found.size
    print(f"compared on {found.images[1]} calibration images and {found.images[2]} simulated defects:")
    print(f"  rank correlation of scores {found.correlation:.4f}")
    print(f"  AUROC on simulated defects: float32 {100 * before:.2f} %, int8 {100 * after:.2f} %")
    print(f"  one image: float32 {1000 * slow:.0f} ms, int8 {1000 * fast:.0f} ms; {large:,} bytes, {small:,} bytes")
    print(f"thresholds of its own: REVIEW above {review:.6g}" + (f", NG above {ng:.6g}" if ng is not None else ""))
    print("wrote {}, {} and {}".format(*found.paths))


def _require_onnx() -> None:
    try:
        import onnx  # noqa: F401
        import onnxruntime  # noqa: F401
    except ImportError as error:
        raise UsageError(f"--format onnx: {error}; expected the extra: pip install 'gnl-jax[onnx]'") from error
