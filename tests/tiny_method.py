"""A method small enough to train in milliseconds, with everything that makes resuming hard: momentum and randomness."""

import jax
import jax.numpy as jnp
import numpy as np
import optax

from gnl_jax.config import default_config
from gnl_jax.data.protocol import LabelledImages, Task
from gnl_jax.methods.base import Method, Phase, Prediction
from gnl_jax.methods.losses import masked_mean

ADAM = optax.adam(0.01)


def init(key, previous, images):
    """Weights, or the last phase's, and an optimiser state."""
    weights = jax.random.normal(jax.random.fold_in(key, 0), (1024,)) if previous is None else previous["weights"]
    return {"step": jnp.int32(0), "weights": weights, "adam": ADAM.init(weights)}


def precompute(frozen, images):
    """What of a step depends on the images alone."""
    return {"x": images[..., 0].reshape(-1, 1024) / jnp.float32(255)}


def make_step(*, nan_loss_at: int = -1, nan_gradient_at: int = -1):
    """A step whose loss, or whose gradient alone, is not a number once."""

    def step(key, state, frozen, images, valid, features=None):
        x = precompute(frozen, images)["x"] if features is None else features["x"]
        x += frozen["scale"] * jax.random.normal(jax.random.fold_in(key, state["step"]), x.shape)

        def objective(weights):
            return masked_mean((x @ jnp.tanh(weights) / 32 - 1) ** 2, valid)

        loss, gradient = jax.value_and_grad(objective)(state["weights"])
        loss = jnp.where(state["step"] == nan_loss_at, jnp.nan, loss)
        gradient = jnp.where(state["step"] == nan_gradient_at, jnp.nan, gradient)
        updates, adam = ADAM.update(gradient, state["adam"])
        weights = optax.apply_updates(state["weights"], updates)
        return {"step": state["step"] + 1, "weights": weights, "adam": adam}, {"loss": loss, "seen": valid.sum()}

    return step


def make_method(config, *, phases=("only",), min_valid=1, **faults) -> Method:
    def phase(name):
        return Phase(
            name, config.train.epochs, config.train.batch_size, init, make_step(**faults), min_valid, precompute
        )

    return Method(
        name="tiny",
        frozen={"scale": jnp.float32(0.1)},
        phases=tuple(phase(name) for name in phases),
        finish=lambda frozen, state, images: {"weights": state["weights"]},
        score_batch=score_batch,
    )


def score_batch(variables, images) -> Prediction:
    """The brightness of an image, weighted; its red channel as map."""
    x = images[..., 0].astype(jnp.float32)
    return Prediction(x.mean((1, 2)) * variables["weights"][0], x)


def make_config(**train):
    """Two epochs of two images to a batch, a checkpoint after every dispatch; `train` holds other settings."""
    config = default_config()
    config.teacher.weights = "random"
    config.train.update({"epochs": 2, "batch_size": 2, "checkpoint_seconds": 0.0} | train)
    return config


def make_task(n: int, *, seed: int = 0) -> Task:
    """n random training images, and a test set of four."""
    images = np.random.default_rng(seed).integers(0, 256, (n + 4, 32, 32, 3), np.uint8)
    return Task("noise", "any", images[:n], {"id": lambda: LabelledImages(images[n:], np.arange(4) % 2 == 1)})
