"""The parts of kernels that meet data, against gradients; and that optimising them alone is the same training."""

import flax.traverse_util
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from gnl_jax.config import default_config
from gnl_jax.methods.build import build_method
from gnl_jax.methods.distillation import _live_parts
from gnl_jax.nn.decoder import Student
from gnl_jax.nn.live_kernels import live_parts, optimise_live

ADAM = optax.adam(0.01, b1=0.5, b2=0.999)


def stages(size, channels=(64, 128, 256)):
    """Shapes of the teacher's three stages."""
    sides = size // 4, size // 8, size // 16
    return tuple(jax.ShapeDtypeStruct((2, side, side, c), "float32") for side, c in zip(sides, channels))


def weights(tree):
    return sum(leaf.size for leaf in jax.tree.leaves(tree))


@pytest.mark.parametrize(("arch", "size", "channels"), [("resnet18", 64, 1), ("wide_resnet50_2", 256, 4)])
def test_on_larger_images_every_weight_meets_data(arch, size, channels):
    assert _live_parts(arch, size) == {}
    assert live_parts(Student(arch), stages(size, [c * channels for c in (64, 128, 256)])) == {}


@pytest.mark.slow
def test_what_is_left_out_has_no_gradient_and_what_is_kept_has():
    student, live = Student("resnet18"), _live_parts("resnet18", 32)
    inputs = [jax.random.normal(jax.random.key(i), s.shape) for i, s in enumerate(stages(32))]
    variables = jax.jit(student.init)(jax.random.key(3, impl="rbg"), tuple(inputs))

    @jax.jit
    def gradients(params, inputs):
        def objective(params):
            outputs = student.apply({**variables, "params": params}, tuple(inputs))
            return sum(jnp.sum(jnp.sin(leaf)) for leaf in jax.tree.leaves(outputs))

        return jax.grad(objective)(params)

    found = flax.traverse_util.flatten_dict(jax.device_get(gradients(variables["params"], inputs)))
    assert set(live) <= set(found)
    left_out = 0
    for path, gradient in found.items():
        if path[-1] == "kernel":
            meets_data = np.zeros(gradient.shape[:2], bool)
            meets_data[live.get(path, ...)] = True
            np.testing.assert_array_equal(np.any(gradient != 0, axis=(2, 3)), meets_data, err_msg=str(path))
            left_out += np.sum(~meets_data) * gradient[0, 0].size
    assert left_out / weights(variables["params"]) == pytest.approx(0.54, abs=0.005)


def test_optimising_what_is_live_is_the_same_training():
    rng = np.random.default_rng(0)
    params = {"a": {"kernel": rng.standard_normal((3, 3, 2, 4)), "bias": rng.standard_normal(4)}}
    params = jax.tree.map(jnp.float32, params)
    live = {("a", "kernel"): (slice(1, 3), slice(0, 2))}
    tx, masked = optimise_live(ADAM, live), np.zeros((3, 3, 1, 1), np.float32)
    masked[1:3, 0:2] = 1

    def train(tx, params, seed):
        gradients = np.random.default_rng(seed)
        state = tx.init(params)
        for _ in range(5):
            gradient = jax.tree.map(lambda p: gradients.standard_normal(p.shape).astype(np.float32), params)
            gradient["a"]["kernel"] *= masked
            updates, state = tx.update(gradient, state, params)
            params = optax.apply_updates(params, updates)
        return params, state

    got, state = train(tx, params, 1)
    expected, _ = train(ADAM, params, 1)
    jax.tree.map(np.testing.assert_array_equal, got, expected)
    assert not np.array_equal(got["a"]["kernel"], params["a"]["kernel"])
    assert state[0].mu["a"]["kernel"].shape == (2, 2, 2, 4)
    assert state[0].mu["a"]["bias"].shape == (4,)


@pytest.mark.parametrize(("size", "taps"), [(32, (1, 1)), (64, (3, 3))])
def test_training_keeps_moments_for_what_is_live(size, taps):
    config = default_config()
    config.teacher.weights, config.dataset.size = "random", size
    phase = build_method(config, frozen={"params": {}}).phases[0]
    state = jax.eval_shape(lambda key: phase.init(key, None, None), jax.random.key(0))

    def kernel(tree):
        return tree["bottleneck"]["bn_layer_1"]["conv2"]["kernel"].shape

    adam = state.opt_state[0]
    assert kernel(adam.mu) == kernel(adam.nu) == (*taps, 512, 512)
    assert kernel(state.params) == (3, 3, 512, 512)
