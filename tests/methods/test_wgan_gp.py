"""The adversarial step: penalty against finite differences, order of passes, whose turn it is, and padding."""

import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from numpy_gan import random_variables

from gnl_jax.methods.wgan_gp import GanState, Learner, Noise, draw_noise, gan_step, gradient_penalty, training_pass
from gnl_jax.nn.gan import NETWORKS

RNG = np.random.default_rng(0)
ADAM = optax.adam(1e-3, b1=0.5, b2=0.999, eps=1e-8)
KINDS = {"dense": 28, "convolutional": 32}
VALID = np.array([True, False, True, True, False, True])


def equal(a, b):
    return all(np.array_equal(x, y) for x, y in zip(*map(jax.tree.leaves, (a, b)), strict=True))


@functools.cache
def start(kind):
    """Networks in float64, a state of theirs (epochs of four steps), and six images."""
    networks = NETWORKS[kind](KINDS[kind], epsilon=0.8, dtype=jnp.float64)
    variables = random_variables(NETWORKS[kind](KINDS[kind], epsilon=0.8))

    def learner(variables):
        zeros = jax.tree.map(np.zeros_like, variables["params"])
        adam = (optax.ScaleByAdamState(np.int32(0), zeros, zeros), optax.EmptyState())
        return Learner(variables["params"], variables.get("batch_stats", {}), adam)

    state = GanState(np.int32(0), np.int32(4), learner(variables[0]), learner(variables[1]))
    return networks, state, RNG.uniform(-1, 1, (6, networks.size, networks.size, networks.channels))


@functools.cache
def compiled_step(kind):
    options = {"networks": start(kind)[0], "tx": ADAM, "weight": 10.0, "critic_steps": 3}
    step = jax.jit(functools.partial(gan_step, **options))

    def call(*arguments):
        with jax.enable_x64(True):
            return jax.device_get(step(*arguments))

    return call


@jax.jit
def draw(key):
    return [draw_noise(key, rows, networks=start("convolutional")[0]) for rows in (6, 2)]


@functools.cache
def noise_of(step):
    """The random numbers of a step of the run with key 0 for six rows, and for two."""
    with jax.enable_x64(True):
        return jax.device_get(draw(jax.random.fold_in(jax.random.fold_in(jax.random.key(0), 1), step)))


# The penalty of a small critic whose rows are coupled, as by batch statistics


def small_critic(params, x, valid):
    rows = valid[:, None]
    hidden = jnp.tanh(x.reshape(x.shape[0], -1) @ params["w"])
    mean = jnp.sum(jnp.where(rows, hidden, 0), axis=0, keepdims=True) / jnp.sum(valid)
    return jnp.sum((hidden - 0.5 * mean) ** 2 * params["v"][None], axis=1)


PARAMS = {"w": RNG.standard_normal((4, 3)), "v": 3 * RNG.standard_normal(3)}
X = RNG.standard_normal((6, 2, 2, 1))


def penalty(params, x=X):
    values, _ = gradient_penalty(lambda x: (small_critic(params, x, VALID), ()), x, VALID)
    return values


def differences(function, x, h):
    """Central differences of a scalar function at each entry of x."""
    result = np.zeros_like(x)
    for i in np.ndindex(x.shape):
        step = np.zeros_like(x)
        step[i] = h
        result[i] = (function(x + step) - function(x - step)) / (2 * h)
    return result


def test_penalty_equals_finite_differences():
    with jax.enable_x64(True):
        total = jax.jit(lambda x: jnp.sum(jnp.where(VALID, small_critic(PARAMS, x, VALID), 0)))
        norms = np.sqrt((differences(total, X, 1e-5) ** 2).sum((1, 2, 3)))
        got = jax.jit(penalty)(PARAMS)
    np.testing.assert_allclose(got, (norms - 1) ** 2, rtol=1e-7)
    np.testing.assert_array_equal(got[~VALID], 1)  # no gradient reaches them


@pytest.mark.parametrize("name", ["w", "v"])
def test_gradient_of_the_penalty_equals_finite_differences(name):
    def mean(value):
        return jnp.mean(penalty(PARAMS | {name: value})[VALID])

    with jax.enable_x64(True):
        got, wanted = jax.jit(jax.grad(mean))(PARAMS[name]), differences(jax.jit(mean), PARAMS[name], 1e-5)
    np.testing.assert_allclose(got, wanted, rtol=1e-6, atol=1e-8)


def test_penalty_is_finite_where_the_critic_is_flat():
    flat = jax.tree.map(np.zeros_like, PARAMS)
    with jax.enable_x64(True):
        values, gradient = jax.jit(lambda flat: (penalty(flat), jax.grad(lambda p: penalty(p).sum())(flat)))(flat)
    np.testing.assert_array_equal(values, 1)
    for leaf in jax.tree.leaves(gradient):
        np.testing.assert_array_equal(leaf, 0)


# The critic's step with the convolutional networks: norms, dropout, second derivatives of convolutions


@pytest.fixture(scope="module")
def convolutional():
    """What the first step (the generator's turn) and one after it (not its turn) make of the same networks."""
    _, state, images = start("convolutional")
    step = compiled_step("convolutional")
    return [step(jax.random.key(0), state._replace(step=np.int32(i)), images, VALID) for i in (0, 1)]


@pytest.mark.slow
def test_gradient_of_the_critic_loss_equals_finite_differences(convolutional):
    _, state, images = start("convolutional")
    direction = jax.tree.map(lambda p: RNG.standard_normal(p.shape), state.critic.params)

    def loss(h):
        params = jax.tree.map(lambda p, d: p + h * d, state.critic.params, direction)
        moved = state._replace(critic=state.critic._replace(params=params))
        return compiled_step("convolutional")(jax.random.key(0), moved, images, VALID)[1]["loss"]

    moments = convolutional[0][0].critic.opt_state[0].mu  # after one step half of the gradient
    slope = sum(2 * np.vdot(m, d) for m, d in zip(*map(jax.tree.leaves, (moments, direction)), strict=True))
    # So short a step because the penalty jumps wherever a leaky ReLU changes its side.
    np.testing.assert_allclose(slope, (loss(1e-8) - loss(-1e-8)) / 2e-8, rtol=1e-5)


@pytest.mark.slow
def test_passes_are_normalised_apart_and_counted_in_order(convolutional):
    """The critic sees real, fake, mixed and, on the generator's turn, fake images again, with its new weights."""
    networks, state, real = start("convolutional")

    @jax.jit
    def generate(z):
        return training_pass(networks.generator, *state.generator[:2], z, VALID)

    @jax.jit
    def see(params, x, dropout):
        return training_pass(networks.critic, params, state.critic.batch_stats, x, VALID, dropout)

    for turn, (after, metrics) in zip((True, False), convolutional, strict=True):
        noise, _ = noise_of(0 if turn else 1)
        with jax.enable_x64(True):
            fake, moved = jax.device_get(generate(noise.latent))
            mixed = noise.mixing * real + (1 - noise.mixing) * fake
            passes = [(state.critic.params, real), (state.critic.params, fake), (state.critic.params, mixed)]
            passes += [(after.critic.params, fake)] * turn
            seen = [jax.device_get(see(*one, noise.dropout[i])) for i, one in enumerate(passes)]
        for name, ((validity, _), _) in zip(("real", "fake"), seen, strict=False):
            np.testing.assert_allclose(metrics[name], validity[VALID].mean(), rtol=1e-9)
        wanted = state.critic.batch_stats, state.generator.batch_stats
        for _, statistics in seen:
            wanted = jax.tree.map(lambda r, s: 0.9 * r + 0.1 * s, wanted[0], statistics), wanted[1]
        for _ in range(1 + turn):
            wanted = wanted[0], jax.tree.map(lambda r, s: 0.9 * r + 0.1 * s, wanted[1], moved)
        got = after.critic.batch_stats, after.generator.batch_stats
        jax.tree.map(functools.partial(np.testing.assert_allclose, rtol=1e-8, atol=1e-11), got, wanted)


@pytest.mark.slow
def test_loss_is_the_sum_of_its_parts(convolutional):
    for _, metrics in convolutional:
        assert metrics.keys() == {"loss", "real", "fake", "penalty"}
        wanted = -metrics["real"] + metrics["fake"] + 10 * metrics["penalty"]
        np.testing.assert_allclose(metrics["loss"], wanted, rtol=1e-12)


@pytest.mark.slow
def test_convolutional_generator_is_left_alone_between_its_turns(convolutional):
    """Where the step is chosen by its result instead of by a condition."""
    _, state, _ = start("convolutional")
    (turn, _), (other, _) = convolutional
    assert not equal(turn.generator.params, state.generator.params)
    assert equal(other.generator[0::2], state.generator[0::2])  # parameters and optimiser


@pytest.mark.slow
def test_what_fills_the_rows_that_are_not_valid_changes_nothing(convolutional):
    _, state, images = start("convolutional")
    filled = np.where(VALID[:, None, None, None], images, 0.7)
    assert_same(compiled_step("convolutional")(jax.random.key(0), state, filled, VALID), convolutional[0])


def assert_same(a, b):
    """Within 1e-8, except that a bias in front of a norm has no gradient but rounding, which Adam makes a step of."""

    def check(path, a, b):
        path = jax.tree_util.keystr(path)
        if not ("generator" in path and "bias" in path and any(f"linear{i}" in path for i in (1, 2, 3))):
            assert np.linalg.norm(a - b) <= 1e-8 * np.linalg.norm(b), path

    jax.tree_util.tree_map_with_path(check, a, b)


# The dense networks


@pytest.fixture(scope="module")
def history():
    """States before and after each of nine steps of the dense networks: two epochs of four, every third a turn."""
    _, state, images = start("dense")
    states, metrics = [state], []
    for _ in range(9):
        state, parts = compiled_step("dense")(jax.random.key(0), state, images, VALID)
        states.append(state)
        metrics.append(parts)
    return states, metrics


@pytest.mark.slow
def test_generator_steps_on_every_third_batch_of_an_epoch(history):
    states, metrics = history
    turns = []
    for before, after in itertools.pairwise(states):
        moved = not equal(before.generator.params, after.generator.params)
        assert moved != equal(before.generator.opt_state, after.generator.opt_state)
        assert not equal(before.critic.params, after.critic.params)
        turns.append(moved)
    assert turns == [True, False, False, True, True, False, False, True, True]
    assert [int(state.step) for state in states] == list(range(10))
    assert states[9].generator.opt_state[0].count == 5
    assert states[9].critic.opt_state[0].count == 9
    assert all(np.isfinite(list(parts.values())).all() for parts in metrics)
    assert metrics[0].keys() == {"loss", "real", "fake", "penalty"}


@pytest.mark.slow
def test_generator_follows_the_stepped_critic_with_the_same_latents(history):
    states, _ = history
    before, after = states[0], states[1]
    networks = start("dense")[0]

    def loss(params, latent):
        fake, _ = training_pass(networks.generator, params, before.generator.batch_stats, latent, VALID)
        validity, _ = networks.critic.apply({"params": after.critic.params}, fake)
        return -jnp.mean(validity[VALID])

    latent = noise_of(0)[0].latent  # those of both kinds of networks
    with jax.enable_x64(True):
        gradient = jax.device_get(jax.jit(jax.grad(loss))(before.generator.params, latent))
    # Adam's first moment after one step.
    wanted = jax.tree.map(lambda g: 0.5 * g, gradient)
    moments = after.generator.opt_state[0].mu
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-8, atol=1e-14), moments, wanted)


@pytest.mark.slow
def test_padded_batches_train_as_unpadded_ones():
    """The valid rows are the first four: their noise follows from their position."""
    _, state, images = start("dense")
    step = compiled_step("dense")
    first = np.arange(6) < 4
    assert_same(
        step(jax.random.key(0), state, images, first), step(jax.random.key(0), state, images[:4], np.ones(4, bool))
    )


def test_a_step_is_a_function_of_key_and_step_number(history):
    _, state, images = start("dense")
    step = compiled_step("dense")
    first = step(jax.random.key(0), state, images, VALID)
    assert equal(first, (history[0][1], history[1][0]))
    for key, number in ((1, 0), (0, 1)):
        _, metrics = step(jax.random.key(key), state._replace(step=np.int32(number)), images, VALID)
        assert metrics["fake"] != first[1]["fake"]
        assert metrics["real"] == first[1]["real"]


def test_noise_of_a_row_follows_from_its_position():
    six, two = noise_of(0)
    assert jax.tree.map(jnp.shape, six) == Noise((6, 100), (6, 1, 1, 3), (4, 6, 240))
    np.testing.assert_array_equal(six.latent[:2], two.latent)
    np.testing.assert_array_equal(six.mixing[:2], two.mixing)
    np.testing.assert_array_equal(six.dropout[:, :2], two.dropout)
    assert len(np.unique(six.dropout)) > 0.99 * six.dropout.size
    assert len(np.unique(six.mixing)) == 18
    assert abs(six.latent.mean()) < 0.2
    assert abs(six.latent.std() - 1) < 0.1
