"""How fast training and scoring run on this device, against its own matrix-product rate."""

import functools
import resource
import time
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from ml_collections import ConfigDict

from experiments.speed.op_profile import seconds_by_scope
from gnl_jax.config import default_config, set_method
from gnl_jax.detection.detector import make_detector
from gnl_jax.methods.build import build_method, matmul_precision
from gnl_jax.training.dispatch import make_dispatch
from gnl_jax.training.features import compute_features


class Case(NamedTuple):
    """An architecture, the side of the images in pixels and how many are trained on at once."""

    arch: str
    size: int
    batch: int

    @classmethod
    def parse(cls, name: str) -> "Case":
        """Reads "resnet18/32/16". ValueError where it is something else."""
        arch, *numbers = name.split("/")
        if len(numbers) != 2 or not all(number.isdecimal() and int(number) for number in numbers):
            raise ValueError(f"case: got {name!r}, expected ARCHITECTURE/SIZE/BATCH")
        return cls(arch, *map(int, numbers))


class Timing(NamedTuple):
    """Seconds are medians, FLOP `model_flop`'s, bytes the compiled program's as XLA counts them, before caches."""

    compile_seconds: float
    step_seconds: float  # one GNL step from uint8 images: three views, losses, gradients, Adam
    step_flop: float
    score_seconds: float  # one batch without matching
    efdm_seconds: float  # one batch with EFDM
    score_flop: float
    step_bytes: float
    score_bytes: float
    matmul_rate: float  # FLOP/s
    memory_rate: float  # byte/s
    peak_bytes: int
    step_scopes: dict[str, float]  # seconds by named scope (`profile.seconds_by_scope`)
    score_scopes: dict[str, float]  # with EFDM


# Table 7: the photographs of the class dog in PACS that are trained on, every tenth being test.
PACS_DOG_IMAGES = 170
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


def memory_rate(*, megabytes: int = 256) -> float:
    """Bytes/s of a + 2 b over arrays of so many MB: two read, one written."""
    a, b = (jnp.full(megabytes * 250_000, value, jnp.float32) for value in (1, 2))
    triad = jax.jit(lambda a, b: a + 2 * b)
    return 3 * a.nbytes / median_seconds(lambda: triad(a, b), seconds=1.0)


def peak_bytes() -> int:
    """Greatest memory in use: the device's where it counts, else this process's."""
    stats = jax.devices()[0].memory_stats()
    return stats["peak_bytes_in_use"] if stats else 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def model_flop(function: Callable, *arguments) -> float:
    """FLOP of a jitted function of arrays, as XLA counts them in its program for a CPU: the same on every device.

    For a GPU's program XLA counts nothing before it is compiled. RuntimeError where JAX_PLATFORMS leaves the CPU out.
    """
    shapes = jax.tree.map(lambda a: jax.ShapeDtypeStruct(a.shape, a.dtype), arguments)
    with jax.default_device(jax.devices("cpu")[0]):
        return function.lower(*shapes).cost_analysis()["flops"]


class Programs(NamedTuple):
    """Compiled training and scoring of one configuration, on random images.

    Fields:
        step: takes one optimiser step and returns its metrics.
        plain, matched: score one batch, without and with EFDM.
        compile_seconds: of the step.
        compiled: the step's program, and that of scoring with EFDM.
        flop: of the step and of scoring without matching.
    """

    step: Callable[[], object]
    plain: Callable[[], object]
    matched: Callable[[], object]
    compile_seconds: float
    compiled: tuple[jax.stages.Compiled, jax.stages.Compiled]
    flop: tuple[float, float]


def make_programs(config: ConfigDict, *, score_batch: int | None = None) -> Programs:
    """Builds the method of `config` for one training batch of random images on the device, and its detectors.

    score_batch: images scored at once, by default as many as are trained on. With `train.feature_budget_mb` the
    teacher's features of the views that never change are given, as in training after the first epoch.
    """
    size, batch = config.dataset.size, config.train.batch_size
    images = np.random.default_rng(0).integers(0, 256, (max(batch, score_batch or 0), size, size, 3), np.uint8)
    trained, scored = (jax.device_put(images[:n]) for n in (batch, score_batch or batch))
    valid = np.ones((1, batch), bool)
    method = build_method(config, matching="efdm")
    phase = method.phases[0]
    key = jax.random.key(0)
    state = phase.init(key, None, trained)
    features = compute_features(phase, method.frozen, trained, budget_mb=config.train.feature_budget_mb)
    features = jax.tree.map(lambda leaf: leaf[None], features)
    arguments = key, state, method.frozen, trained[None], valid, features
    dispatch, begun = make_dispatch(phase.step), time.perf_counter()
    compiled = dispatch.lower(*arguments).compile()
    compile_seconds = time.perf_counter() - begun
    flop = model_flop(dispatch, *arguments)
    box = [state]

    def step():
        box[0], metrics = compiled(key, box[0], method.frozen, trained[None], valid, features)
        return metrics

    step()
    build = functools.partial(make_detector, size=size, batch_size=len(scored), precision=matmul_precision(config))
    # Their own copy of the state: the next step is given its memory.
    kept = jax.tree.map(jnp.copy, box[0])
    methods = build_method(config, matching="none", frozen=method.frozen), method
    detectors = [build(method, kept, trained) for method in methods]
    plain, matched = (d.score_batch.lower(d.variables, scored).compile() for d in detectors)
    return Programs(
        step,
        lambda: plain(detectors[0].variables, scored),
        lambda: matched(detectors[1].variables, scored),
        compile_seconds,
        (compiled, matched),
        (flop, model_flop(detectors[0].score_batch, detectors[0].variables, scored)),
    )


def time_case(
    case: Case, *, precision: str = "float32", cached: bool = False, score_batch: int | None = None
) -> Timing:
    """Times GNL training steps and scoring of one architecture, image size and batch, on random images.

    cached: the teacher's features of the clean and grey views are given. score_batch: as in `make_programs`.
    """
    config = random_config(case, precision=precision)
    config.train.feature_budget_mb = 1e6 * cached
    with jax.default_matmul_precision(matmul_precision(config)):
        rate = matmul_rate(jnp.bfloat16 if precision == "bfloat16" else jnp.float32)
        programs = make_programs(config, score_batch=score_batch)
        seconds = [median_seconds(call) for call in (programs.step, programs.plain, programs.matched)]
        peak = peak_bytes()
        scopes = [
            seconds_by_scope(compiled, call)
            for compiled, call in zip(programs.compiled, (programs.step, programs.matched))
        ]
    return Timing(
        programs.compile_seconds,
        seconds[0],
        programs.flop[0],
        *seconds[1:],
        programs.flop[1],
        *(compiled.cost_analysis()["bytes accessed"] for compiled in programs.compiled),
        rate,
        memory_rate(),
        peak,
        *scopes,
    )


def time_epochs(case: Case, *, images: int, seconds: float = 3.0) -> dict[tuple[str, str], float]:
    """The measurements of Table 7: ("rd4ad" or "gnl", "training" or "inference") to seconds.

    Training is an epoch over so many images in batches of `case.batch`, a last partial batch counted as a whole one,
    for that is what it costs; inference is one image at a time, RD4AD without and GNL with EFDM against stored
    references. Reading of files is not part of it. Each is measured for at least `seconds`, and at least thrice.
    """
    if images < 1:
        raise ValueError(f"images: got {images}, expected 1 or more")
    found = {}
    for name, kind in (("rd4ad", "plain"), ("gnl", "matched")):
        config = set_method(random_config(case), name)
        with jax.default_matmul_precision(matmul_precision(config)):
            programs = make_programs(config, score_batch=1)
            step = median_seconds(programs.step, seconds=seconds)
            found[name, "training"] = step * -(-images // case.batch)
            found[name, "inference"] = median_seconds(getattr(programs, kind), seconds=seconds)
    return found


def random_config(case: Case, *, precision: str = "float32") -> ConfigDict:
    """GNL with a random teacher for one case."""
    config = default_config()
    config.precision = precision
    config.teacher.update(arch=case.arch, weights="random")
    config.dataset.size = case.size
    config.train.batch_size = case.batch
    return config
