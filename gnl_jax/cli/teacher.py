"""The teacher that a command line names, and the method, size and weights that go with it."""

import argparse

from gnl_jax.cli.arguments import UsageError

DINOV2 = tuple(f"dinov2_vit{size}14{registers}" for registers in ("", "_reg") for size in "sbl")
ARCHITECTURES = ("resnet18", "resnet50", "wide_resnet50_2", *DINOV2)
WEIGHTS = (
    "a file, imagenet, pretrained (DINOv2), random (for trying out), or bundled, which is the default with resnet18; "
    "or the name of a network (--arch), with its published weights"
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the options that choose the teacher, for the commands that fit."""
    parser.add_argument("--teacher", default="", metavar="WEIGHTS", help=WEIGHTS)
    parser.add_argument("--arch", choices=ARCHITECTURES, help="by default resnet18")


def named_arch(args: argparse.Namespace) -> str:
    """The network that --arch names, or --teacher in place of weights; "" where neither does."""
    if args.teacher not in ARCHITECTURES:
        return args.arch or ""
    if args.arch not in (None, args.teacher):
        raise UsageError(f"--teacher and --arch: got {args.teacher} and {args.arch}, expected one network")
    return args.teacher


def method_of(args: argparse.Namespace) -> str:
    """--method, by default a memory bank as it goes with the network."""
    return args.method or ("dinov2_bank" if named_arch(args) in DINOV2 else "matched_bank")


def set_teacher(config, args: argparse.Namespace) -> None:
    """Writes network, weights and size into a configuration that has its method.

    Raises:
        UsageError: a size that the network does not take; weights that nobody named.
    """
    from gnl_jax.nn.pretrained import named_source, resolve_source
    from gnl_jax.nn.teachers import check_size, teacher_record

    arch = config.teacher.arch = named_arch(args) or config.teacher.arch
    record = teacher_record(arch)
    size, field, more = args.size, "--size", ""
    if size is None and args.window_size:
        size, field, more = args.window_size, "--window-size", ", or --size as well"
    if size is not None:
        try:
            check_size(size, record, arch=arch, field=field)
        except ValueError as error:
            raise UsageError(f"{error}{more}") from error
        config.dataset.size = size
    try:
        source = named_source(arch) if args.teacher == arch else resolve_source(args.teacher, arch)
    except ValueError as error:
        fetch = f"`gnl-jax weights fetch {arch}` downloads them once, then --teacher {record.source}; "
        raise UsageError(
            f"no teacher weights for {arch}: {fetch if record.published else ''}--arch {arch} --teacher FILE names a "
            "file of your own (or GNL_JAX_TEACHER does)"
        ) from error
    if source == "random":
        print("THE TEACHER IS RANDOM: good for trying the program, not for inspecting parts")
    config.teacher.weights = source
