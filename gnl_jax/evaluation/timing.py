"""How fast training and scoring run on this device, against its own matrix-product rate."""

import functools
import resource
import time
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from gnl_jax.config import default_config
from gnl_jax.detection.detector import make_detector
from gnl_jax.methods.build import build_method, matmul_precision
from gnl_jax.training.dispatch import make_dispatch


class Case(NamedTuple):
    arch: str
    size: int
    batch: int


class Timing(NamedTuple):
    """Seconds are medians; FLOP are those of the program's convolutions and products as XLA counts them."""

    compile_seconds: float
    step_seconds: float  # one GNL step from uint8 images: three views, losses, gradients, Adam
    step_flop: float
    score_seconds: float  # one batch without matching
    efdm_seconds: float  # one batch with EFDM
    score_flop: float
    matmul_rate: float  # FLOP/s
    peak_bytes: int


CASES = (Case("resnet18", 32, 16), Case("resnet18", 256, 16), Case("wide_resnet50_2", 256, 2))


def median_seconds(call: Callable[[], object], *, seconds: float = 3.0, least: int = 3) -> float:
    """Median duration of `call`, which returns arrays, after one call that is not counted."""
    jax.block_until_ready(call())
    times: list[float] = []
    while len(times) < least or sum(times) < seconds:
        begun = time.perf_counter()
        jax.block_until_ready(call())
        times.append(time.perf_counter() - begun)
    return float(np.median(times))


def matmul_rate(dtype=jnp.float32, *, size: int | None = None) -> float:
    """FLOP/s of a square product of this dtype, the yardstick for everything else."""
    size = size or (2048 if jax.default_backend() == "cpu" else 8192)
    a = jax.random.normal(jax.random.key(0), (size, size), dtype)
    product = jax.jit(lambda a: a @ a)
    return 2 * size**3 / median_seconds(lambda: product(a), seconds=1.0)


def peak_bytes() -> int:
    """Greatest memory in use: the device's where it counts, else this process's."""
    stats = jax.devices()[0].memory_stats()
    return stats["peak_bytes_in_use"] if stats else 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def time_case(case: Case, *, precision: str = "float32") -> Timing:
    """Times GNL training steps and scoring of one architecture, image size and batch, on random images."""
    config = default_config()
    config.precision = precision
    config.teacher.update(arch=case.arch, weights="random")
    config.dataset.size = case.size
    config.train.batch_size = case.batch
    images = np.random.default_rng(0).integers(0, 256, (case.batch, case.size, case.size, 3), np.uint8)
    valid = np.ones((1, case.batch), bool)
    product_precision = matmul_precision(config)
    with jax.default_matmul_precision(product_precision):
        rate = matmul_rate(jnp.bfloat16 if precision == "bfloat16" else jnp.float32)
        method = build_method(config, matching="efdm")
        phase = method.phases[0]
        key = jax.random.key(0)
        state = phase.init(key, None, images)
        begun = time.perf_counter()
        lowered = make_dispatch(phase.step).lower(key, state, method.frozen, images[None], valid)
        compiled = lowered.compile()
        compile_seconds = time.perf_counter() - begun
        box = [state]

        def step():
            box[0], metrics = compiled(key, box[0], method.frozen, images[None], valid)
            return metrics

        step_seconds = median_seconds(step)
        build = functools.partial(make_detector, size=case.size, batch_size=case.batch, precision=product_precision)
        plain = build(build_method(config, matching="none", frozen=method.frozen), box[0], images)
        matched = build(method, box[0], images)
        score_flop = plain.score_batch.lower(plain.variables, images).cost_analysis()["flops"]
        score_seconds, efdm_seconds = (
            median_seconds(lambda d=d: d.score_batch(d.variables, images)) for d in (plain, matched)
        )
    step_flop = lowered.cost_analysis()["flops"]
    return Timing(compile_seconds, step_seconds, step_flop, score_seconds, efdm_seconds, score_flop, rate, peak_bytes())
