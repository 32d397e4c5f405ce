"""Trains GNL twice on the same batches and views in float64: by our step, and by the published one in PyTorch.

python experiments/speed/published_steps.py --config=configs/mnist.py:5,gnl [--steps=100] [--out=FILE.json]

Both begin with the teacher of the configuration and one random student. Batches are drawn from its training images;
views are made once, in float32, and given to both. It prints how far apart the losses are, relative to the published
one's. Needs the extra `torch`.
"""

import functools
import json
import time

import jax
import jax.numpy as jnp
import numpy as np
import torch
from absl import app, flags
from ml_collections import ConfigDict, config_flags

from experiments.speed.published_exchange import published_step, view_maker
from gnl_jax import console
from gnl_jax.data.load import load_task
from gnl_jax.files import write_atomic
from gnl_jax.methods.losses import LossWeights
from gnl_jax.methods.reverse_distillation import Model, init_state, torch_adam, train_step
from gnl_jax.nn.pretrained import load_teacher
from gnl_jax.progress import progress_bar

CONFIG = config_flags.DEFINE_config_file("config", None, "Configuration file, FILE.py[:ARGUMENT].", lock_config=True)
STEPS = flags.DEFINE_integer("steps", 100, "Steps of each.", lower_bound=1)
OUT = flags.DEFINE_string("out", None, "Also write the losses of every step to this JSON file.")
LOSSES = ("ori", "abs", "lowf", "loss")


def batches(config: ConfigDict, steps: int):
    """Batches of training images, each epoch in another order."""
    images, size = load_task(config.dataset, seed=config.seed).train, config.train.batch_size
    rng, order = np.random.default_rng(config.seed), np.zeros(0, np.int64)
    for _ in range(steps):
        if len(order) < size:
            order = rng.permutation(len(images))
        chosen, order = order[:size], order[size:]
        yield np.asarray(images[chosen])


def our_step(config: ConfigDict, teacher, student):
    """(state, function (state, views [v b s s 3]) -> (state, losses)) in float64."""
    model = Model.create(config.teacher.arch, jnp.float64)
    train = config.train
    adam = torch_adam(train.learning_rate, b1=train.beta1, b2=train.beta2)

    @jax.jit
    def step(state, views):
        valid = jnp.ones(views.shape[1], bool)
        options = {"model": model, "tx": adam, "teacher": teacher, "loss_weights": LossWeights()}
        return train_step(jax.random.key(0), state, views[0], valid, make_views=lambda key, x: views, **options)

    return student._replace(opt_state=adam.init(student.params)), step


def run() -> None:
    config = CONFIG.value
    make = view_maker(config)
    key = jax.random.key(config.seed)
    seen = [np.asarray(make(jax.random.fold_in(key, i), batch)) for i, batch in enumerate(batches(config, STEPS.value))]
    size = config.dataset.size
    teacher = load_teacher(config.teacher.arch, config.teacher.weights, seed=config.teacher.seed)
    adam = torch_adam(0.1, b1=0.5, b2=0.5)  # replaced; only the weights count here
    student = init_state(key, model=Model.create(config.teacher.arch), tx=adam, size=size)
    _, published = published_step(config, teacher, jax.tree.map(np.asarray, student), torch.float64)
    rows, begun = [], time.monotonic()
    with jax.enable_x64(True), progress_bar("steps", STEPS.value) as advance:
        double = functools.partial(jax.tree.map, lambda x: jnp.asarray(x, jnp.float64))
        state = student._replace(params=double(student.params), batch_stats=double(student.batch_stats))
        state, step = our_step(config, double(teacher), state)
        for views in seen:
            views = views.astype(np.float64)
            state, ours = step(state, jnp.asarray(views))
            theirs = published(np.ascontiguousarray(np.moveaxis(views, -1, 2)))
            rows.append({name: [float(ours[name]), theirs[name]] for name in LOSSES})
            advance(1)
    for name in LOSSES:
        apart = [abs(a - b) / abs(b) for a, b in (row[name] for row in rows)]
        marks = ", ".join(f"{apart[i]:.1e}" for i in sorted({0, len(apart) // 2, len(apart) - 1}))
        print(f"{name}: largest relative difference {max(apart):.1e}; first, middle, last step {marks}")
    first, last = rows[0]["loss"], rows[-1]["loss"]
    print(f"loss, ours and published: {first[0]:.6f} {first[1]:.6f} at first, {last[0]:.6f} {last[1]:.6f} at last")
    print(f"{len(rows)} steps of {config.train.batch_size} images, {time.monotonic() - begun:.0f} s")
    if OUT.value:
        write_atomic(OUT.value, json.dumps({"steps": rows}) + "\n")


if __name__ == "__main__":
    flags.mark_flags_as_required(["config"])
    app.run(lambda argv: console.run(run), flags_parser=console.parse_flags)
