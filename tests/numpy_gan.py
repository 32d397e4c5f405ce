"""The networks of f-AnoGAN in NumPy, written from their layer lists, and variables to try them with."""

import jax
import jax.numpy as jnp
import numpy as np


def shapes(networks):
    """The shapes of the variables of generator, critic and encoder."""
    images = jnp.zeros((2, networks.size, networks.size, networks.channels))
    examples = jnp.zeros((2, 100)), images, images
    return [
        jax.eval_shape(module.init, jax.random.key(0), example)
        for module, example in zip(networks[:3], examples, strict=True)
    ]


def random_variables(networks, *, seed=0):
    """Weights of the size of the initial ones, and statistics away from theirs; float64."""
    rng = np.random.default_rng(seed)

    def draw(path, leaf):
        name = path[-1].key
        if name in ("scale", "var"):
            return rng.uniform(0.5, 2, leaf.shape)
        return rng.standard_normal(leaf.shape) / np.sqrt(np.prod(leaf.shape[:-1]) if name == "kernel" else 4)

    return jax.tree_util.tree_map_with_path(draw, shapes(networks))


def linear(layer, x):
    return x @ layer["kernel"] + layer["bias"]


def leaky(x):
    return np.where(x > 0, x, 0.2 * x)


def norm(layer, stored, x, epsilon, *, train):
    """`train`: by mean and biased variance of the batch."""
    axes = tuple(range(x.ndim - 1))
    mean, var = (x.mean(axes), x.var(axes)) if train else (stored["mean"], stored["var"])
    return (x - mean) / np.sqrt(var + epsilon) * layer["scale"] + layer["bias"]


def conv3x3(layer, x, stride=1):
    padded = np.pad(x, [(0, 0), (1, 1), (1, 1), (0, 0)])
    h, w = x.shape[1:3]
    taps = (padded[:, i : i + h, j : j + w] @ layer["kernel"][i, j] for i in range(3) for j in range(3))
    return sum(taps)[:, ::stride, ::stride] + layer["bias"]


def dense_generator(variables, z, epsilon, *, train=False):
    params, stored = variables["params"], variables["batch_stats"]
    y = leaky(linear(params["linear0"], z))
    for i in (1, 2, 3):
        y = norm(params[f"norm{i}"], stored[f"norm{i}"], linear(params[f"linear{i}"], y), epsilon, train=train)
        y = leaky(y)
    return np.tanh(linear(params["linear4"], y)).reshape(-1, 28, 28, 1)


def dense_trunk(params, x):
    return leaky(linear(params["linear1"], leaky(linear(params["linear0"], x.reshape(len(x), -1)))))


def convolutional_generator(variables, z, epsilon, *, size, train=False):
    params, stored = variables["params"], variables["batch_stats"]
    y = linear(params["linear"], z).reshape(-1, size // 4, size // 4, 128)
    y = norm(params["norm0"], stored["norm0"], y, 1e-5, train=train)
    for i in (1, 2):
        y = conv3x3(params[f"conv{i}"], y.repeat(2, axis=1).repeat(2, axis=2))
        y = leaky(norm(params[f"norm{i}"], stored[f"norm{i}"], y, epsilon, train=train))
    return np.tanh(conv3x3(params["conv3"], y))


def convolutional_trunk(variables, x, epsilon, *, kept=None):
    """kept: for each of the four layers bool [b c], the channels dropout leaves; None is evaluation mode."""
    params, stored = variables["params"], variables["batch_stats"]
    for i in range(4):
        x = leaky(conv3x3(params[f"conv{i}"], x, stride=2))
        if kept is not None:
            x = x * kept[i][:, None, None, :] / 0.75
        if i > 0:
            x = norm(params[f"norm{i}"], stored[f"norm{i}"], x, epsilon, train=kept is not None)
    return x.reshape(len(x), -1)
