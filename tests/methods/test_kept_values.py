"""What a detector's program computes once on a CPU: residual blocks, the stem, matched features, all stages."""

import functools
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gnl_jax.methods.bank_options import BankOptions
from gnl_jax.methods.memory_bank import matched_stages
from gnl_jax.methods.reverse_distillation import Model
from gnl_jax.methods.scoring import score_batch
from gnl_jax.nn.decoder import Student
from gnl_jax.nn.resnet import ResNet
from gnl_jax.ops.cpu_program import for_this_cpu
from gnl_jax.ops.kept_value import TARGET

pytestmark = pytest.mark.usefixtures("small_network")
X = jax.ShapeDtypeStruct((1, 32, 32, 3), np.float32)
STAGES = [(64, 64), (16, 128), (4, 256)]  # positions and channels
REFERENCES = [jax.ShapeDtypeStruct(shape, np.float32) for shape in STAGES]


def kept_shapes(function, *arguments):
    """Of each kept value of a function's program its arrays' shapes, as (positions, channels)."""
    with for_this_cpu():
        text = jax.jit(function).lower(*arguments).as_text()
    calls = re.findall(rf"custom_call @{TARGET}\(.*: \((.*)\) ->", text)
    return sorted([tuple(map(int, shape)) for shape in re.findall(r"x(\d+)x\d+x(\d+)xf32", call)] for call in calls)


def kept_of_teacher(side=8):
    """(side, channels) of the stem and of a block a stage."""
    return [[(side, 64)], *([(side // 2**k, 64 * 2**k)] for k in range(3))]


@pytest.mark.parametrize("matching", ["none", "efdm"])
def test_teacher_and_student(matching):
    model = Model(ResNet("resnet10"), Student("resnet10"))
    teacher = jax.eval_shape(model.teacher.init, jax.random.key(0), X)
    stages = jax.eval_shape(model.teacher.apply, teacher, X)
    student = jax.eval_shape(model.student.init, jax.random.key(0), stages)
    variables = {"teacher": teacher, "student": student, "alpha": jax.ShapeDtypeStruct((), np.float32)}
    variables["references"] = [jax.ShapeDtypeStruct((1, *x.shape), x.dtype) for x in REFERENCES[:2]]
    score = functools.partial(score_batch, model=model, preprocess=jnp.asarray, matching=matching)
    matched = [[(8, 64)], [(4, 128)]] if matching == "efdm" else []
    together = [(8, 64), (4, 128), (2, 256)]
    blocks = [[(1, 512)], [(2, 256)], [(4, 128)], [(8, 64)]]  # of the student
    assert kept_shapes(score, variables, X) == sorted([*kept_of_teacher(), *matched, together, *blocks])


@pytest.mark.parametrize("matching", ["none", "efdm"])
def test_a_bank(matching):
    teacher = ResNet("resnet10")
    variables = jax.eval_shape(teacher.init, jax.random.key(0), X)
    references = {str(k): reference for k, reference in enumerate(REFERENCES, start=1)}

    def stages(variables, references, x):
        options = BankOptions(matched=(1, 2, 3))
        return matched_stages(
            teacher, variables, x, matching=matching, options=options, references=references, alpha=0.5
        ).matched

    matched = [[(8, 64)], [(4, 128)], [(2, 256)]] if matching == "efdm" else []
    assert kept_shapes(stages, variables, references, X) == sorted([*kept_of_teacher(), *matched])
