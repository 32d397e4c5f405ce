"""Training on virtual devices, as a program of its own: the number of devices is fixed before JAX begins.

parallel_program.py OUT.npz CASE...: float64/DEVICES takes three steps, float32/DEVICES one that leaves the gradient.
parallel_program.py OUT.npz restore/DEVICES FOLDER: the newest checkpoint of the tiny method, on every device.
parallel_program.py OUT.npz jobs/DEVICES FOLDER: six runs of the tiny method as one program, in FOLDER/0 to FOLDER/5.
With the environment variable JOIN it is one of several processes.
"""

import os
import sys

import jax
import jax.numpy as jnp
import numpy as np
import optax
import tiny_method
from run_folders import small_architecture
from test_jobs_exact import ADAM, noisy_views, widened

from gnl_jax.data.digits import digits_task
from gnl_jax.data.feed import device_feed, make_schedule
from gnl_jax.methods.losses import LossWeights
from gnl_jax.methods.reverse_distillation import Model, init_state, train_step
from gnl_jax.nn.resnet import init_teacher
from gnl_jax.training.checkpoint import Checkpoints
from gnl_jax.training.dispatch import make_dispatch
from gnl_jax.training.features import with_features
from gnl_jax.training.jobs import train_jobs
from gnl_jax.training.parallel import collect, divided, everywhere, join, make_mesh, replicate

N, BATCH = 19, 8  # three steps: the last batch has three images


def after_steps(count: int, *, wide: bool) -> dict[str, np.ndarray]:
    """Parameters and statistics after three steps of Adam (float64), or what one step of size one moved (float32)."""
    dtype = jnp.float64 if wide else jnp.float32
    model = Model.create("resnet10", dtype)
    tx = ADAM if wide else optax.sgd(1.0)
    cast = widened if wide else lambda tree: tree
    key, frozen = jax.random.key(0), cast(init_teacher(jax.random.key(1), "resnet10"))
    start = jax.tree.map(np.array, cast(init_state(key, model=model, tx=tx, size=32)))
    images, schedule = digits_task("3", limit_train=N).train, make_schedule(N, batch_size=BATCH, seed=0)

    def views(key, images):
        return noisy_views(key, images).astype(dtype)

    def step(key, state, frozen, images, valid, features):
        options = {"make_views": views, "loss_weights": LossWeights(), "model": model, "tx": tx}
        return train_step(key, state, images, valid, teacher=frozen, **options)

    mesh = make_mesh(count, batch_size=BATCH)
    share = {"process_index": jax.process_index(), "process_count": jax.process_count()}
    feed = device_feed(images, schedule, start=0, stop=3 if wide else 1, **share)
    dispatch = make_dispatch(step, placement=mesh and everywhere(mesh))
    state, key, frozen = replicate(mesh, (start, key, frozen))
    for _, *batch in divided(mesh, with_features(feed, None)):
        state, metrics = dispatch(key, state, frozen, *batch)
    state, metrics = collect(mesh, (state, metrics))
    moved = {"params": state.params, "batch_stats": state.batch_stats}
    if not wide:
        moved = jax.tree.map(lambda after, before: after - before, moved["params"], start.params)
    leaves = jax.tree_util.tree_leaves_with_path({"moved": moved, "loss": metrics["loss"]})
    return {jax.tree_util.keystr(path, simple=True, separator="/"): np.asarray(leaf) for path, leaf in leaves}


def restored(folder: str, count: int) -> dict[str, np.ndarray]:
    template = replicate(make_mesh(count, batch_size=count), tiny_method.init(jax.random.key(0), None, None))
    with Checkpoints(folder) as checkpoints:
        leaves = jax.tree.leaves(checkpoints.restore(template).state)
    assert all(len(leaf.sharding.device_set) == count for leaf in leaves)
    return {str(i): np.asarray(leaf) for i, leaf in enumerate(leaves)}


def train_six(folder: str, count: int) -> dict[str, np.ndarray]:
    configs = [tiny_method.make_config(devices=count) for _ in range(6)]
    for seed, config in enumerate(configs):
        config.seed = seed
    method = tiny_method.make_method(configs[0], phases=("first", "second"))
    tasks = [tiny_method.make_task(5 + seed, seed=seed) for seed in range(6)]
    return {"steps": np.array(train_jobs(configs, [f"{folder}/{i}" for i in range(6)], tasks=tasks, method=method))}


def run(out: str, cases: list[str]) -> None:
    if cases[0].startswith("jobs/"):
        np.savez(out, **train_six(cases[1], int(cases[0].split("/")[1])))
        return
    if cases[0].startswith("restore/"):
        np.savez(out, **restored(cases[1], int(cases[0].split("/")[1])))
        return
    arrays = {}
    for case in cases:
        dtype, count = case.split("/")
        with jax.enable_x64(dtype == "float64"):
            arrays |= {f"{case}/{k}": v for k, v in after_steps(int(count), wide=dtype == "float64").items()}
    if jax.process_index() == 0:
        np.savez(out, **arrays)


if __name__ == "__main__":
    if "JOIN" in os.environ:
        join(os.environ["JOIN"])
    with small_architecture():
        run(sys.argv[1], sys.argv[2:])
