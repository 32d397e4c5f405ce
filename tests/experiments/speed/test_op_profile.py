"""Where time goes: scopes by the paths of operations, time inside time counted once."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import pytest

from experiments.speed.op_profile import Event, _operations, _plain, scope, seconds_by_scope, self_seconds


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("jit(dispatch)/teacher/ResNet/layer1_0/conv1/conv_general_dilated", "teacher"),
        ("jit(dispatch)/jvp(vmap(Student))/bottleneck/bn_layer_0/conv1/dot_general", "bottleneck"),
        ("jit(dispatch)/transpose(jvp(vmap(Student)))/decoder/layer1_0/dot_general", "decoder, gradient"),
        ("jit(score)/teacher/ResNet/matching/sort", "matching"),
        ("jit(score)/score map/dot_general", "score map"),
        ("jit(score)/matching/transpose", "matching"),
        ("jit(dispatch)/transpose(jvp(add))", "other"),
        ("", "other"),
    ],
)
def test_the_innermost_scope_counts(path, name):
    assert scope(path) == name


def test_what_an_event_encloses_is_not_its_own():
    events = [Event("inner", 2e9, 3e9), Event("loop", 0, 10e9), Event("inner", 4e9, 8e9), Event("in", 5e9, 6e9)]
    events.append(Event("after", 10e9, 11e9))
    own: dict[str, float] = {}
    for name, seconds in self_seconds(events):
        own[name] = own.get(name, 0) + seconds
    assert own == {"loop": 5, "inner": 4, "in": 1, "after": 1}


class Recorded(NamedTuple):
    """An event as a profile holds it."""

    name: str
    stats: list[tuple[str, str]]
    start_ns: float = 0.0
    duration_ns: float = 1.0


def test_operations_of_a_gpus_graph_have_their_kernels_names():
    events = [
        Recorded("loop_add_fusion_3", [("hlo_op", "loop_add_fusion.3")]),
        Recorded("loop_multiply_fusion_4", [("hlo_op", "command_buffer_7")]),
        Recorded("a thread waits", []),
    ]
    assert [event.name for event in _operations(events)] == ["loop_add_fusion.3", "loop_multiply_fusion_4"]
    assert _plain("loop_multiply_fusion.4") == _plain("loop_multiply_fusion_4")


def test_a_program_is_told_apart_by_its_scopes():
    def program(x):
        with jax.named_scope("teacher"):
            x = x @ x
        with jax.named_scope("matching"):
            return jnp.sort(x, axis=0)

    x = jax.random.normal(jax.random.key(0), (512, 512))
    compiled = jax.jit(program).lower(x).compile()
    seconds = seconds_by_scope(compiled, lambda: compiled(x))
    assert seconds["teacher"] > 0
    assert seconds["matching"] > 0
    assert sum(seconds.values()) < 10
