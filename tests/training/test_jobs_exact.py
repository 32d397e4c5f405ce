"""The job axis over the real training step: three steps in float64 as each job takes them alone."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from run_folders import small_architecture

from gnl_jax.data.digits import digits_task
from gnl_jax.data.feed import make_schedule
from gnl_jax.methods.losses import LossWeights
from gnl_jax.methods.reverse_distillation import Model, init_state, torch_adam, train_step
from gnl_jax.nn.resnet import init_teacher
from gnl_jax.training.jobs import job_step

ADAM = torch_adam(0.005, b1=0.5, b2=0.999)
COUNTS = (11, 7, 4)  # images: three, two and one batch of four an epoch, the last ones of 3, 3 and 4


def noisy_views(key, images):
    """Two views; the noise of an image follows from the key and its position."""
    keys = jax.vmap(lambda i: jax.random.fold_in(key, i))(jnp.arange(len(images)))
    noise = jax.vmap(lambda k: jax.random.normal(k, images.shape[1:], jnp.float64))(keys)
    clean = jnp.asarray(images, jnp.float64) / 255
    return jnp.stack([clean, clean + 0.1 * noise])


@pytest.fixture(scope="module")
def step():
    with small_architecture():
        model = Model.create("resnet10", jnp.dtype("float64"))

        def step(key, state, teacher, images, valid, features):
            options = {"make_views": noisy_views, "loss_weights": LossWeights(), "model": model, "tx": ADAM}
            return train_step(key, state, images, valid, teacher=teacher, **options)

        yield step, model


def widened(tree):
    return jax.tree.map(lambda x: np.asarray(x, np.float64 if x.dtype == jnp.float32 else x.dtype), tree)


@pytest.mark.slow
def test_jobs_train_as_they_would_alone(step):
    step, model = step
    teacher = widened(init_teacher(jax.random.key(1), "resnet10"))
    keys = [jax.random.key(seed) for seed in range(3)]
    starts = [widened(init_state(key, model=model, tx=ADAM, size=32)) for key in keys]
    images = [digits_task(digit, limit_train=n).train for digit, n in zip("038", COUNTS)]
    schedules = [make_schedule(n, batch_size=4, seed=seed) for seed, n in enumerate(COUNTS)]
    alone, together = jax.jit(step), jax.jit(job_step(step))
    with jax.enable_x64(True):
        states = jax.tree.map(lambda *leaves: jnp.stack(leaves), *starts)
        singles = list(starts)
        for number in range(3):
            batches = [schedule.batch(number) for schedule in schedules]
            pictures = [of_job[indices] for of_job, (indices, _) in zip(images, batches)]
            valid = np.stack([v for _, v in batches])
            states, metrics = together(jnp.stack(keys), states, teacher, np.stack(pictures), valid, None)
            for j in range(3):
                singles[j], expected = alone(keys[j], singles[j], teacher, pictures[j], valid[j], None)
                assert float(metrics["loss"][j]) == pytest.approx(float(expected["loss"]), rel=1e-8)
        for j, single in enumerate(singles):
            mine = jax.tree.map(lambda leaf: leaf[j], states)  # noqa: B023
            for a, b in zip(jax.tree.leaves(mine), jax.tree.leaves(single), strict=True):
                assert a.dtype == b.dtype
                assert np.linalg.norm(a - b) <= 1e-8 * np.linalg.norm(b)
