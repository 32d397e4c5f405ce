"""A DINOv2 of a few channels as a teacher: for a test, a line more in the table; the product's own lines stay."""

import contextlib
from unittest import mock

from gnl_jax.nn.dinov2 import Variant
from gnl_jax.nn.teachers import TEACHERS, dinov2_teacher

ARCH = "dinov2_tiny"
SIZES = Variant(width=16, blocks=3, heads=2, registers=1, grid=4)
TEACHER = dinov2_teacher(SIZES)


@contextlib.contextmanager
def tiny_dinov2():
    """Within the block `ARCH` is a teacher like any other, on the command line too."""
    names = ("resnet18", ARCH)
    with (
        mock.patch.dict(TEACHERS, {ARCH: TEACHER}),
        mock.patch.multiple("gnl_jax.cli.teacher", ARCHITECTURES=names, DINOV2=(ARCH,)),
    ):
        yield
