"""What each of several virtual devices computes of a step at 64 pixels, as a program of its own: prints the FLOP that
XLA counts in the compiled program of one device, for every number of devices given, in their order.
"""

import sys

import jax
import jax.numpy as jnp
from run_folders import small_architecture
from test_jobs_exact import ADAM, noisy_views

from gnl_jax.methods.losses import LossWeights
from gnl_jax.methods.reverse_distillation import Model, init_state, train_step
from gnl_jax.nn.resnet import init_teacher
from gnl_jax.training.dispatch import make_dispatch
from gnl_jax.training.parallel import along, everywhere, make_mesh, replicate

SIZE, BATCH = 64, 8  # up to 32x32 positions: library convolutions, products over patches and plain products


def flop(count: int) -> float:
    model = Model.create("resnet10")
    options = {"make_views": noisy_views, "loss_weights": LossWeights(), "model": model, "tx": ADAM}

    def step(key, state, frozen, images, valid, features):
        return train_step(key, state, images, valid, teacher=frozen, **options)

    mesh = make_mesh(count, batch_size=BATCH)
    key = jax.random.key(0)
    state = init_state(key, model=model, tx=ADAM, size=SIZE)
    whole = replicate(mesh, (key, state, init_teacher(key, "resnet10")))
    batch = jnp.zeros((1, BATCH, SIZE, SIZE, 3), jnp.uint8), jnp.ones((1, BATCH), bool)
    batch = jax.device_put(batch, mesh and along(mesh, 1))
    dispatch = make_dispatch(step, placement=mesh and everywhere(mesh))
    return dispatch.lower(*whole, *batch).compile().cost_analysis()["flops"]


if __name__ == "__main__":
    with small_architecture():
        print(*(flop(int(count)) for count in sys.argv[1:]))
