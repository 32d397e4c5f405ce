"""Deep SVDD: its two phases against NumPy, its schedule against the feed's, and training on real digits."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import gnl_jax.images.contrast_normalisation
from gnl_jax.config import default_config, set_method
from gnl_jax.data.digits import digits_task
from gnl_jax.data.feed import make_schedule
from gnl_jax.evaluation.metrics import auroc
from gnl_jax.images.contrast_normalisation import contrast_range
from gnl_jax.methods.deep_svdd import (
    SvddNetwork,
    SvddState,
    autoencoder_losses,
    away_from_zero,
    build_deep_svdd,
    l2_adam,
    milestone_step,
    preprocess,
    reconstruction_error,
    squared_distance,
    svdd_losses,
    svdd_step,
)
from gnl_jax.nn.lenet import LENETS

RNG = np.random.default_rng(0)
KEY = jax.random.key(0, impl="rbg")  # compiles faster than the default
TASK = digits_task("8", size=28, shifts=())
MODEL = SvddNetwork(LENETS["mnist"], jnp.dtype("float64"))
LOSSES = {"autoencoder": autoencoder_losses, "svdd": svdd_losses}
IMAGES, VALID = TASK.train[:5], np.array([True, True, False, True, False])  # of the single steps
RATE, WEIGHT_DECAY = 1e-3, 0.5


def config(**fields):
    """The published settings for MNIST, with other `fields`."""
    result = set_method(default_config(), "deep_svdd", like="mnist")
    result.update_from_flattened_dict(fields)
    return result


# The parts, by hand


def test_losses_by_hand():
    images = np.float32([[[[0.0], [1.0]]], [[[0.5], [0.5]]]])
    np.testing.assert_allclose(reconstruction_error(images, images + np.float32([[[[3.0], [-4.0]]]])), [25, 25])
    np.testing.assert_allclose(squared_distance(np.float32([[1, 2], [0, 0]]), np.float32([1, -1])), [9, 2])
    half = jnp.asarray(images, jnp.bfloat16)
    assert reconstruction_error(half, half).dtype == squared_distance(half[0, 0], jnp.zeros(1)).dtype == jnp.float32


def test_small_components_of_a_centre_are_moved_away_from_zero():
    got = away_from_zero(jnp.float32([0.05, -0.05, 0.0, 0.2, -0.2, 0.1, 1e-9, -1e-9]))
    np.testing.assert_array_equal(got, np.float32([0.1, -0.1, 0.0, 0.2, -0.2, 0.1, 0.1, -0.1]))


@pytest.mark.parametrize(("n", "batch_size", "min_valid"), [(7, 3, 1), (7, 3, 2), (6, 3, 1), (8, 3, 2), (2, 200, 1)])
@pytest.mark.parametrize("milestone", [0, 1, 50])
def test_milestone_begins_with_an_epoch_of_the_feed(n, batch_size, min_valid, milestone):
    schedule = make_schedule(n, batch_size=batch_size, seed=0, min_valid=min_valid)
    got = milestone_step(n, batch_size=batch_size, min_valid=min_valid, milestone=milestone)
    assert got == milestone * schedule.steps_per_epoch
    assert got.dtype == jnp.int32


def test_a_milestone_that_is_never_reached():
    assert milestone_step(10**6, batch_size=1, min_valid=1, milestone=10**9) == 2**31 - 1


# The step


def start(phase):
    """A state of a phase with running statistics and a centre that are not those of the start; float64."""
    encoder, autoencoder = MODEL.network.encoder, MODEL.network.autoencoder
    module = encoder if phase == "svdd" else autoencoder
    shapes = jax.eval_shape(module.init, KEY, jnp.zeros((1, 28, 28, 1)))
    rng = np.random.default_rng(1)
    params = jax.tree.map(lambda p: rng.standard_normal(p.shape) / np.sqrt(np.prod(p.shape[:-1])), shapes["params"])
    batch_stats = jax.tree.map(lambda s: rng.uniform(0.5, 2, s.shape), shapes["batch_stats"])
    measured = {"low": -0.8, "high": 9.0} | ({"centre": rng.standard_normal(32)} if phase == "svdd" else {})
    opt_state = l2_adam(0.0, b1=0.9, b2=0.999).init(params)
    return SvddState(np.int32(0), np.int32(1), measured, params, batch_stats, opt_state)


@functools.cache
def compile_step(phase):
    tx = l2_adam(WEIGHT_DECAY, b1=0.9, b2=0.999)
    return jax.jit(functools.partial(svdd_step, losses=LOSSES[phase], model=MODEL, tx=tx, learning_rate=RATE))


def as_float32(leaf):
    leaf = np.asarray(leaf)
    return leaf.astype(np.float32) if leaf.dtype == np.float64 else leaf


def assert_same(a, b, tolerance=1e-12):
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=tolerance, atol=tolerance), a, b)


@pytest.mark.slow
@pytest.mark.parametrize("phase", LOSSES)
def test_what_fills_rows_that_are_not_valid_changes_nothing(phase):
    noise = RNG.integers(0, 256, IMAGES.shape, np.uint8)
    with jax.enable_x64(True):
        step = compile_step(phase)
        first = step(start(phase), IMAGES, VALID)
        assert_same(step(start(phase), np.where(VALID[:, None, None, None], IMAGES, noise), VALID), first)
    assert np.isfinite(first[1]["loss"])


@pytest.mark.slow
def test_a_padded_batch_trains_as_without_its_padding():
    with jax.enable_x64(True):
        step = compile_step("svdd")
        assert_same(step(start("svdd"), IMAGES[VALID], np.ones(3, bool)), step(start("svdd"), IMAGES, VALID))


def test_two_steps_of_adam_with_weight_decay_in_the_gradient():
    """Gradients by finite differences, Adam as torch writes it, a tenth of the rate from the milestone (step 1) on."""
    places = [("conv1", (1, 2, 0, 3)), ("conv2", (2, 2, 5, 1)), ("fc1", (17, 4))]

    with jax.enable_x64(True):

        @jax.jit
        def loss(params, measured):
            x = preprocess(IMAGES[VALID], measured, model=MODEL)
            z, _ = MODEL.network.encoder.apply(
                {"params": params, "batch_stats": state.batch_stats}, x, np.ones(3, bool), mutable=True
            )
            return jnp.mean(jnp.sum((z - measured["centre"][None]) ** 2, axis=1))

        step, state = compile_step("svdd"), start("svdd")
        m, v = np.zeros(3), np.zeros(3)
        expected = np.array([state.params[layer]["kernel"][place] for layer, place in places])
        for t, lr in ((1, RATE), (2, RATE / 10)):
            at = [loss(moved(state.params, *p, h), state.measured) for p in places for h in (1e-6, -1e-6)]
            gradient = (np.array(at[::2]) - np.array(at[1::2])) / 2e-6 + WEIGHT_DECAY * expected
            m, v = 0.9 * m + 0.1 * gradient, 0.999 * v + 0.001 * gradient**2
            expected = expected - lr * (m / (1 - 0.9**t)) / (np.sqrt(v / (1 - 0.999**t)) + 1e-8)
            previous, (state, metrics) = state, step(state, IMAGES, VALID)
            np.testing.assert_allclose(metrics["loss"], loss(previous.params, state.measured), rtol=1e-6)
        got = [state.params[layer]["kernel"][place] for layer, place in places]
    np.testing.assert_allclose(got, expected, atol=1e-9)  # of changes of 1e-3
    assert state.step == 2


def moved(params, layer, place, h):
    kernel = np.array(params[layer]["kernel"])
    kernel[place] += h
    return params | {layer: {"kernel": kernel}}


def test_the_learning_rate_is_a_tenth_from_the_milestone_on():
    with jax.enable_x64(True):
        step, state = compile_step("svdd"), start("svdd")

        def change(at):
            after, _ = step(state._replace(step=np.int32(at), milestone_step=np.int32(7)), IMAGES, VALID)
            return jax.tree.map(np.subtract, after.params, state.params)

        full = change(0)
        assert_same(change(6), full)
        for at in (7, 8):
            assert_same(change(at), jax.tree.map(lambda c: c / 10, full))


def test_running_statistics_move_by_a_tenth_of_the_unbiased_ones():
    with jax.enable_x64(True):
        state = start("svdd")
        after, _ = compile_step("svdd")(state, IMAGES, VALID)
        x = np.asarray(preprocess(IMAGES[VALID], state.measured, model=MODEL))
    windows = np.lib.stride_tricks.sliding_window_view(np.pad(x[..., 0], [(0, 0), (2, 2), (2, 2)]), (5, 5), axis=(1, 2))
    y = np.einsum("bhwij,ijo->bhwo", windows, state.params["conv1"]["kernel"][:, :, 0])
    for name, statistic in (("mean", y.mean((0, 1, 2))), ("var", y.var((0, 1, 2), ddof=1))):
        expected = 0.9 * state.batch_stats["bn1"][name] + 0.1 * statistic
        np.testing.assert_allclose(after.batch_stats["bn1"][name], expected, rtol=1e-8)  # float32 inputs


@pytest.mark.slow
@pytest.mark.parametrize("network", LENETS)
def test_no_loop_surrounds_the_convolutions(network):
    """Inside a loop XLA's CPU backend leaves its fast path."""
    size = LENETS[network].size
    method = build_deep_svdd(config(**{"method.deep_svdd.network": network, "dataset.size": size}))
    images, valid = jax.ShapeDtypeStruct((4, size, size, 3), jnp.uint8), jax.ShapeDtypeStruct((4,), bool)
    for phase in method.phases:
        state = jax.eval_shape(lambda phase=phase: phase.init(KEY, None, None))
        text = jax.jit(phase.step).lower(KEY, state, {}, images, valid, None).as_text()
        assert "convolution" in text
        assert "while" not in text


# The phases


@pytest.fixture(scope="module")
def trained():
    """A few epochs of both phases on one digit: (method, states, losses), one of each per phase."""
    fields = {"train.epochs": 8, "train.batch_size": 32, "train.learning_rate": 1e-3}
    method = build_deep_svdd(config(**fields, **{"method.deep_svdd.pretrain_epochs": 8}))
    states, losses = [None], []
    for phase in method.phases:
        schedule = make_schedule(len(TASK.train), batch_size=phase.batch_size, seed=0, min_valid=phase.min_valid)
        state = jax.jit(lambda previous, init=phase.init: init(KEY, previous, TASK.train))(states[-1])
        step = jax.jit(phase.step)
        losses.append([])
        for indices, valid in map(schedule.batch, range(phase.epochs * schedule.steps_per_epoch)):
            state, metrics = step(KEY, state, method.frozen, TASK.train[indices], valid, None)
            losses[-1].append(float(metrics["loss"]))
        states.append(state)
    return method, states[1:], losses


@pytest.mark.slow
def test_trained_on_digits_it_finds_the_others(trained):
    method, (_, state), losses = trained
    for phase in losses:
        assert np.mean(phase[-5:]) < 0.3 * np.mean(phase[:5])
    test = TASK.load_test("id")
    variables = method.finish(method.frozen, state, TASK.train)
    score, no_map, _ = jax.jit(method.score_batch)(variables, test.images)
    assert no_map is None
    assert score.shape == (len(test.images),)
    assert auroc(np.asarray(score), test.anomalous) > 0.8


def embeddings(encoder, images, low, high):
    """Of an encoder with stored statistics; the input in NumPy."""
    x = images[..., :1] / 255.0  # digits are grey
    x -= x.mean((1, 2, 3), keepdims=True)
    x /= np.abs(x).mean((1, 2, 3), keepdims=True)
    x = np.float32((x - low) / (high - low))
    return np.asarray(jax.jit(LENETS["mnist"].encoder.apply)(encoder, x)), x


@pytest.mark.slow
def test_the_second_phase_begins_with_the_encoder_and_its_centre(trained, monkeypatch):
    method, (first, _), _ = trained
    monkeypatch.setattr(gnl_jax.images.contrast_normalisation, "_CHUNK", 64)  # the last chunk is filled up
    encoder = {"params": first.params["encoder"], "batch_stats": first.batch_stats["encoder"]}
    z, x = embeddings(encoder, TASK.train, first.measured["low"], first.measured["high"])
    np.testing.assert_allclose((x.min(), x.max()), (0, 1), atol=1e-6)
    mean = z.astype(np.float64).mean(0)
    shrink = np.float32(0.1 / np.median(np.abs(mean)))  # half of the centre's components are small then
    encoder["params"] = encoder["params"] | {"fc1": {"kernel": shrink * encoder["params"]["fc1"]["kernel"]}}
    state = method.phases[1].init(KEY, first._replace(params={"encoder": encoder["params"]}), TASK.train)
    jax.tree.map(np.testing.assert_array_equal, (state.params, state.batch_stats), tuple(encoder.values()))
    assert np.abs(np.asarray(state.batch_stats["bn1"]["var"]) - 1).max() > 0.1  # statistics that were learned
    expected, centre = shrink * mean, np.asarray(state.measured["centre"])
    small = np.abs(expected) < 0.1
    assert 10 < small.sum() < 22
    np.testing.assert_allclose(centre[~small], expected[~small], rtol=1e-4)
    np.testing.assert_allclose(centre[small], 0.1 * np.sign(expected[small]), rtol=1e-6)
    assert (state.step, state.milestone_step) == (0, 50 * 5)
    for leaf in jax.tree.leaves(state):
        leaf.delete()  # the steps do so with the state's memory
    assert not any(leaf.is_deleted() for leaf in jax.tree.leaves((first, encoder)))


def test_the_score_is_the_squared_distance_to_the_centre_of_each_row_alone():
    """Of a state with statistics and a centre that are not those of the start."""
    method, state = build_deep_svdd(config()), jax.tree.map(as_float32, start("svdd"))
    variables = method.finish(method.frozen, state, TASK.train)
    images = TASK.load_test("id").images[:6]
    score = jax.jit(method.score_batch)(variables, images).score
    z, _ = embeddings(variables["encoder"], images, state.measured["low"], state.measured["high"])
    np.testing.assert_allclose(score, ((z - np.asarray(state.measured["centre"])) ** 2).sum(1), rtol=1e-4)
    other = jax.jit(method.score_batch)(variables, np.concatenate([images[:1], 255 - images[1:]])).score
    assert other[0] == score[0]
    assert np.all(other[1:] != score[1:])


@pytest.mark.parametrize("images", [TASK.train, None], ids=["images", "none"])
def test_a_state_has_its_shapes_without_an_earlier_phase(images):
    """Those that it has after the phase before it, and a step of its own."""
    method, states = build_deep_svdd(config()), [None]
    for phase in method.phases:
        state = jax.eval_shape(lambda previous, phase=phase: phase.init(KEY, previous, TASK.train), states[-1])
        states.append(jax.eval_shape(phase.step, KEY, state, method.frozen, IMAGES, VALID, None)[0])
    for phase, state in zip(method.phases, states[1:], strict=True):
        template = jax.eval_shape(lambda phase=phase: phase.init(jax.random.key(0), None, images))
        assert jax.tree.structure(template) == jax.tree.structure(state)
        jax.tree.map(lambda t, s: (t.shape, t.dtype) == (s.shape, s.dtype) or pytest.fail(f"{t} {s}"), template, state)


def test_what_was_measured_without_images_lets_no_loss_survive():
    measured = dict(zip(("low", "high"), contrast_range(None, channels=1), strict=True))
    assert np.isnan(preprocess(TASK.train[:1], measured, model=SvddNetwork(LENETS["mnist"]))).all()


def test_phases_of_the_published_settings():
    mnist = build_deep_svdd(config())
    cifar = build_deep_svdd(set_method(default_config(), "deep_svdd", like="cifar10"))
    for method, epochs, min_valid in ((mnist, 150, 1), (cifar, 350, 2)):
        assert (method.name, method.frozen) == ("deep_svdd", {})
        assert [(p.name, p.epochs, p.batch_size, p.min_valid) for p in method.phases] == [
            ("autoencoder", epochs, 200, min_valid),
            ("svdd", 150, 200, 1),
        ]
        assert all(phase.precompute is None for phase in method.phases)


def test_each_phase_has_its_own_milestone():
    method = build_deep_svdd(config(**{"method.deep_svdd.pretrain_milestone": 3, "method.deep_svdd.milestone": 7}))
    images = np.zeros((401, 28, 28, 3), np.uint8)  # three batches of 200
    states = [jax.eval_shape(lambda phase=phase: phase.init(KEY, None, images)) for phase in method.phases]
    assert all(state.milestone_step.shape == () for state in states)
    assert [phase.init.keywords["milestone_step"](401) for phase in method.phases] == [9, 21]


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("method.deep_svdd.network", "lenet", r"method.deep_svdd.network: got 'lenet', expected one of mnist, cifar10"),
        ("dataset.size", 32, r"dataset.size: got 32, expected 28, .*method.deep_svdd.network 'mnist'"),
        ("method.deep_svdd.network", "cifar10", r"dataset.size: got 28, expected 32, .*'cifar10'"),
        ("method.deep_svdd.weight_decay", -1e-6, r"method.deep_svdd.weight_decay: got -1e-06, expected 0 or more"),
        ("method.deep_svdd.pretrain_weight_decay", float("nan"), r"method.deep_svdd.pretrain_weight_decay: got nan"),
        ("method.deep_svdd.milestone", -1, r"method.deep_svdd.milestone: got -1, expected 0 or more"),
        ("method.deep_svdd.pretrain_milestone", -1, r"method.deep_svdd.pretrain_milestone: got -1"),
        ("method.deep_svdd.pretrain_epochs", -1, r"method.deep_svdd.pretrain_epochs: got -1"),
        ("precision", "half", r"precision: got 'half'"),
    ],
)
def test_errors_name_the_field(field, value, message):
    with pytest.raises(ValueError, match=message):
        build_deep_svdd(config(**{field: value}))
