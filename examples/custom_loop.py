"""A training loop of your own: own augmentation, one extra loss on the embedding, own optimiser.

python examples/custom_loop.py

Trains on the zeros among scikit-learn's digits, then scores digits it has not seen.
"""

import jax
import jax.numpy as jnp
import numpy as np
import optax

from gnl_jax import LossWeights, Outputs, Student, gnl_losses, image_score, load_teacher, make_train_step, score_map
from gnl_jax.data.digits import digits_task
from gnl_jax.images.views import normalise
from gnl_jax.methods.reverse_distillation import Model, init_state
from gnl_jax.nn.resnet import ResNet

SIZE, BATCH = 32, 16


def make_views(key: jax.Array, images: jax.Array) -> jax.Array:
    """The clean view and one of other brightness: images uint8 [b s s 3] -> float32 [2 b s s 3]."""
    gain = jax.random.uniform(key, (len(images), 1, 1, 1), minval=0.5, maxval=1.5)
    relit = jnp.clip(images * gain, 0, 255).astype(jnp.uint8)
    return jnp.stack([normalise(view, kind="imagenet") for view in (images, relit)])


def compactness(outputs: Outputs) -> jax.Array:
    """The squared distance of each clean embedding from the batch's mean, [b]."""
    pooled = outputs.embedding[0].mean((1, 2))
    return jnp.square(pooled - pooled.mean(0, keepdims=True)).mean(1)


def train(images: np.ndarray, *, steps: int, seed: int = 0):
    """The networks, the teacher's variables, the trained state and the loss of every step."""
    model, teacher = Model(ResNet("resnet18"), Student("resnet18")), load_teacher("resnet18", "bundled")
    tx = optax.adamw(optax.cosine_decay_schedule(3e-3, steps))
    losses = {**gnl_losses(), "compact": compactness}
    weights = {**LossWeights()._asdict(), "compact": 0.01}
    step = jax.jit(
        make_train_step(model=model, tx=tx, teacher=teacher, make_views=make_views, losses=losses, loss_weights=weights)
    )
    key, rng, history = jax.random.key(seed), np.random.default_rng(seed), []
    state = init_state(key, model=model, tx=tx, size=SIZE)
    for _ in range(steps):
        batch = images[rng.choice(len(images), BATCH, replace=False)]
        state, metrics = step(key, state, batch, np.ones(BATCH, bool))
        history.append(float(metrics["loss"]))
    return model, teacher, state, history


def score(model: Model, teacher, state, images: np.ndarray) -> jax.Array:
    """Anomaly scores of images uint8 [n s s 3]: [n]."""
    stages = model.teacher.apply(teacher, normalise(images, kind="imagenet"))
    _, decoded = model.student.apply({"params": state.params, "batch_stats": state.batch_stats}, stages)
    return image_score(score_map(stages, decoded, size=(SIZE, SIZE)))


if __name__ == "__main__":
    task = digits_task("0", size=SIZE, shifts=())
    test = task.load_test("id")
    *trained, history = train(task.train, steps=60)
    scores = np.asarray(jax.jit(score, static_argnums=0)(*trained, test.images))
    print(f"loss {history[0]:.3f} -> {history[-1]:.3f}; mean score of zeros {scores[~test.anomalous].mean():.3f}")
    print(f"mean score of the other digits {scores[test.anomalous].mean():.3f}")
