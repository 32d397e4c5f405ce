"""The records of the teachers say what the networks do."""

import jax
import jax.numpy as jnp
import pytest

from gnl_jax.nn.blocks import ARCHITECTURES
from gnl_jax.nn.decoder import Student
from gnl_jax.nn.dinov2 import VARIANTS, Variant
from gnl_jax.nn.teachers import TEACHERS, bank_teachers, check_size, dinov2_teacher, pyramid_teachers, teacher_record

TINY = {"dinov2_tiny": dinov2_teacher(Variant(32, 2, 2)), "dinov2_one": dinov2_teacher(Variant(16, 1, 2, registers=1))}


# The larger ones of DINOv2 are the same lines with other numbers, and take seconds to trace.
TRACED = {name: teacher for name, teacher in TEACHERS.items() if "dinov2" not in name} | TINY


@pytest.mark.parametrize("teacher", TRACED.values(), ids=TRACED)
def test_strides_and_channels_are_those_of_the_module(teacher):
    size, seen = 2 * teacher.multiple, []
    image = jax.ShapeDtypeStruct((1, size, size, 3), jnp.float32)
    variables = jax.eval_shape(teacher.init, jax.random.key(0))
    hook = (lambda stage, features: seen.append(stage) or features,) if teacher.drift else ()
    stages = jax.eval_shape(lambda v, x: teacher.module.apply(v, x, *hook), variables, image)
    sides = tuple(size // stride for stride in teacher.strides)
    assert [stage.shape for stage in stages] == [(1, side, side, c) for side, c in zip(sides, teacher.channels)]
    assert seen == (list(range(1, len(stages))) if teacher.drift else [])
    assert set(teacher.drift) <= set(range(1, len(stages) + 1))
    small = jax.ShapeDtypeStruct((1, size - 2, size, 3), jnp.float32)
    with pytest.raises(ValueError, match=rf"multiples? of {teacher.multiple}"):
        jax.eval_shape(teacher.module.apply, variables, small)


def test_records_of_dinov2():
    for name, sizes in VARIANTS.items():
        teacher = TEACHERS[name]
        assert teacher.module.variant == sizes
        assert teacher.strides == (14,) * sizes.blocks
        assert teacher.channels == (sizes.width,) * sizes.blocks
        assert teacher.drift == (sizes.blocks // 4, sizes.blocks // 2)
        assert teacher.sources() == (("pretrained", "random") if teacher.published else ("random",))


@pytest.mark.parametrize(
    ("size", "arch", "multiple"), [(40, "resnet18", 32), (0, "resnet18", 32), (256, "dinov2_vits14", 14)]
)
def test_a_size_that_a_teacher_does_not_take(size, arch, multiple):
    with pytest.raises(ValueError, match=rf"--size: got {size}, expected a multiple of {multiple} for {arch}"):
        check_size(size, TEACHERS[arch], arch=arch, field="--size")
    check_size(448, TEACHERS[arch], arch=arch)


def test_every_pyramid_has_a_student():
    assert set(bank_teachers()) == {*ARCHITECTURES, *VARIANTS}
    assert list(pyramid_teachers()) == list(ARCHITECTURES)
    stages = tuple(
        jax.ShapeDtypeStruct((2, 64 // stride, 64 // stride, c), jnp.float32)
        for stride, c in zip(TEACHERS["resnet18"].strides, TEACHERS["resnet18"].channels)
    )
    (embedding, decoded), _ = jax.eval_shape(
        Student(TEACHERS["resnet18"].student).init_with_output, jax.random.key(0), stages
    )
    assert embedding.shape == (2, 2, 2, 512)
    assert [d.shape for d in decoded] == [s.shape for s in stages]


def test_an_unknown_teacher():
    with pytest.raises(ValueError, match=r"arch: got 'vgg', expected one of resnet18, .*, vgg16, dinov2_vits14, "):
        teacher_record("vgg")
