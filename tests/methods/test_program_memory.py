"""The peak of a program's memory, from shapes alone."""

import jax
import jax.numpy as jnp
import pytest

from gnl_jax.methods.program_memory import program_bytes, tree_bytes

KB = 1024
SQUARE = jax.ShapeDtypeStruct((16, 16), jnp.float32)  # 1 KB


def test_a_tree_of_arrays_and_shapes():
    assert tree_bytes({"a": SQUARE, "b": (jnp.zeros(3, jnp.uint8), None)}) == KB + 3


@pytest.mark.parametrize(
    ("program", "squares"),
    [
        (lambda x: x @ x, 1),
        (lambda x: (x @ x) @ x, 2),  # the first product lives until the second is there
        (lambda x: ((x @ x) @ x) @ x, 2),  # and no longer
        (lambda x: (y := x @ x, y @ x, x @ y), 3),  # results stay
        (lambda x: jax.jit(lambda y: ((y @ y) @ y).sum())(x), 2),  # within a call
        (lambda x: jax.lax.cond(x[0, 0] > 0, lambda y: y @ y, lambda y: (y @ y) @ y, x), 2),  # the larger branch
        (lambda x: jax.lax.fori_loop(0, 9, lambda i, y: (y @ y) @ y, x), 2),  # a loop holds what one round does
    ],
)
def test_the_peak_is_what_lives_at_once(program, squares):
    found, _ = program_bytes(jax.jit(program), SQUARE)
    assert squares * KB <= found <= squares * KB + 64  # counters and conditions


def test_what_the_gradient_needs_is_kept():
    def loss(x):
        for _ in range(10):
            x = jnp.sin(x @ x)
        return x.sum()

    forward, _ = program_bytes(jax.jit(loss), SQUARE)
    backward, shape = program_bytes(jax.jit(jax.grad(loss)), SQUARE)
    assert (forward, shape.shape) == (2 * KB, SQUARE.shape)
    assert backward >= 20 * KB


def test_it_grows_with_the_batch_as_xlas_own_plan_does():
    def step(kernel, images):
        def loss(kernel):
            x = images
            for _ in range(4):
                x = jax.nn.relu(jax.lax.conv_general_dilated(x, kernel, (1, 1), "SAME", dimension_numbers=_NHWC))
            return (x**2).sum()

        return jax.grad(loss)(kernel)

    kernel, program = jax.ShapeDtypeStruct((3, 3, 8, 8), jnp.float32), jax.jit(step)
    for batch in (4, 16):
        images = jax.ShapeDtypeStruct((batch, 32, 32, 8), jnp.float32)
        planned = program.lower(kernel, images).compile().memory_analysis().temp_size_in_bytes
        assert program_bytes(program, kernel, images)[0] == pytest.approx(planned, rel=0.4)


_NHWC = ("NHWC", "HWIO", "NHWC")
