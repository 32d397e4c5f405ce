"""Download a teacher's published weights, or check a file of them."""

import argparse

from gnl_jax.cli.arguments import DONE


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of `gnl-jax weights`."""
    parser.add_argument("action", choices=("fetch", "verify"), help="download once, or check what is there")
    parser.add_argument(
        "what", nargs="?", default="resnet18", help="an architecture; for verify also a file, then with --arch"
    )
    parser.add_argument("--arch", default="resnet18", help="what a file is meant for")


def run(args: argparse.Namespace) -> int:
    """Downloads the weights, or checks those that are there."""
    from gnl_jax.nn.pretrained import is_cached, load_teacher
    from gnl_jax.nn.teachers import TEACHERS

    published = {name: teacher.published for name, teacher in TEACHERS.items() if teacher.published}

    if args.what in published:
        if args.action == "verify" and not is_cached(args.what):
            raise ValueError(f"{args.what}: not downloaded yet; `gnl-jax weights fetch {args.what}` does it")
        load_teacher(args.what, TEACHERS[args.what].source)
        print(f"{args.what}: the published weights, SHA-256 {published[args.what].sha256}")
    elif args.action == "fetch":
        raise ValueError(f"weights: got {args.what!r}, expected one of {', '.join(published)}")
    else:
        load_teacher(args.arch, args.what)
        print(f"{args.what}: whole, and fits {args.arch}")
    return DONE
