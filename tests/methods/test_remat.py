"""Rematerialisation: less memory at the price of time, and nothing else."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from run_folders import small_architecture

from gnl_jax.methods.losses import gnl_losses
from gnl_jax.methods.reverse_distillation import Model, init_state, torch_adam, view_losses

TX = torch_adam(0.005, b1=0.5, b2=0.999)


def student(remat: bool, stages, valid):
    """The student's loss as a function of its parameters, statistics and stages; and its first variables."""
    model = Model.create("resnet10", jnp.dtype("float64"), remat=remat)
    state = init_state(jax.random.key(0), model=model, tx=TX, size=64)
    state = jax.tree.map(lambda x: np.asarray(x, np.float64), (state.params, state.batch_stats))

    def objective(params, stats, stages):
        losses, statistics = view_losses(params, stats, stages, valid, model=model, losses=gnl_losses())
        return sum(jnp.mean(loss) for loss in losses.values()), (losses, statistics)

    return objective, state


def kept_bytes(objective, *arguments) -> int:
    """What the forward pass keeps for the gradient; XLA's CPU compiler would compute nothing again and keep it all."""
    kept = jax.eval_shape(lambda *a: jax.vjp(objective, *a, has_aux=True)[1], *arguments)
    size = [sum(x.size * x.dtype.itemsize for x in jax.tree.leaves(tree)) for tree in (kept, arguments)]
    return size[0] - size[1]  # what is given is there anyway


@pytest.mark.slow
def test_remat_keeps_less_and_changes_nothing():
    rng = np.random.default_rng(0)
    stages = tuple(rng.random((2, 8, s, s, c)) for s, c in ((16, 64), (8, 128), (4, 256)))
    results = {}
    with small_architecture(), jax.enable_x64(True):
        for remat in (False, True):
            objective, state = student(remat, stages, np.ones(8, bool))
            gradient = jax.jit(jax.grad(objective, has_aux=True))
            results[remat] = (state, gradient(*state, stages), kept_bytes(objective, *state, stages))
    (state, plain, kept), (same, again, saved) = results[False], results[True]
    jax.tree.map(np.testing.assert_array_equal, state, same)  # the same parameters under the same names

    def check(path, a, b):
        assert np.linalg.norm(a - b) <= 1e-10 * max(np.linalg.norm(a), 1e-6), jax.tree_util.keystr(path)

    jax.tree_util.tree_map_with_path(check, plain, again)
    assert 0 <= saved < 0.4 * kept
