"""How fast several runs train as one program, beside one run alone."""

from collections.abc import Iterator, Sequence

import jax
import jax.numpy as jnp
import numpy as np
from ml_collections import ConfigDict

from experiments.speed.timing import median_seconds
from gnl_jax.methods.build import build_method, matmul_precision
from gnl_jax.training.dispatch import make_dispatch
from gnl_jax.training.jobs import job_step


def time_jobs(config: ConfigDict, counts: Sequence[int]) -> Iterator[tuple[int, float]]:
    """(0, seconds of a step of a run alone), then for every count k (k, seconds of a step of k runs as one program).

    Steps of the last phase of the method that `config` describes, on random images; medians. No data is read.
    """
    method = build_method(config)
    phase, size = method.phases[-1], config.dataset.size
    images = np.random.default_rng(0).integers(0, 256, (phase.batch_size, size, size, 3), np.uint8)
    valid = np.ones(phase.batch_size, bool)

    def seconds(step, key, state, images, valid) -> float:
        dispatch, box = make_dispatch(step), [state]

        def call():
            box[0], metrics = dispatch(key, box[0], method.frozen, images[None], valid[None])
            return metrics

        return median_seconds(call)

    with jax.default_matmul_precision(matmul_precision(config)):
        keys = [jax.random.key(seed) for seed in range(max(counts, default=1))]
        yield 0, seconds(phase.step, keys[0], phase.init(keys[0], None, images), images, valid)
        for k in counts:
            states = [phase.init(key, None, images) for key in keys[:k]]
            stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves), *states)
            several = (np.broadcast_to(a, (k, *a.shape)) for a in (images, valid))
            yield k, seconds(job_step(phase.step), jnp.stack(keys[:k]), stacked, *several)
