"""The records of the teachers say what the networks do."""

import jax
import jax.numpy as jnp
import pytest

from gnl_jax.nn.blocks import ARCHITECTURES
from gnl_jax.nn.decoder import Student
from gnl_jax.nn.teachers import TEACHERS, pyramid_teachers, teacher_record

IMAGE = jax.ShapeDtypeStruct((1, 64, 64, 3), jnp.float32)


@pytest.mark.parametrize("name", TEACHERS)
def test_strides_and_channels_are_those_of_the_module(name):
    teacher = TEACHERS[name]
    variables = jax.eval_shape(teacher.init, jax.random.key(0))
    stages = jax.eval_shape(teacher.module.apply, variables, IMAGE)
    sides = tuple(64 // stride for stride in teacher.strides)
    assert [stage.shape for stage in stages] == [(1, side, side, c) for side, c in zip(sides, teacher.channels)]


def test_every_pyramid_has_a_student():
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
    with pytest.raises(ValueError, match=r"arch: got 'vgg', expected one of resnet18, .*, vgg16"):
        teacher_record("vgg")
