"""A run folder as training leaves it, made without training: an untrained student of a small ResNet."""

import contextlib
import functools
from pathlib import Path
from unittest import mock

import jax

from gnl_jax.config import default_config
from gnl_jax.config_io import save_config
from gnl_jax.methods.build import build_method
from gnl_jax.nn.blocks import ARCHITECTURES, Architecture
from gnl_jax.nn.pretrained import load_teacher
from gnl_jax.nn.resnet import ResNet, init_teacher
from gnl_jax.nn.teachers import TEACHERS
from gnl_jax.training.arrays import save_arrays
from gnl_jax.training.checkpoint import Checkpoints
from gnl_jax.training.metrics_log import MetricsLog

STEP = 7


@contextlib.contextmanager
def small_architecture():
    """Within the block there is a "resnet10": one residual block to a stage compiles in a third of ResNet-18's time."""
    small = Architecture(False, (1, 1, 1, 1), 1, 64)
    teacher = TEACHERS["resnet18"]._replace(
        module=ResNet("resnet10"),
        init=functools.partial(init_teacher, arch="resnet10"),
        student="resnet10",
        bundled=None,
    )
    with mock.patch.dict(ARCHITECTURES, resnet10=small), mock.patch.dict(TEACHERS, resnet10=teacher):
        yield


def small_config():
    """Twenty digits to test on, with the network of `small_architecture`."""
    config = default_config()
    config.dataset.update(limit_train=6, limit_test=20, shifts=("contrast",))
    config.teacher.update(arch="resnet10", weights="/a/folder/that/is/gone/teacher.safetensors")
    config.eval.update(batch_size=4, matching=("none",))
    return config


def make_run(folder: Path, config) -> None:
    """Writes the folder; the file that `config.teacher.weights` names need not exist."""
    frozen = load_teacher(config.teacher.arch, "random")
    (phase,) = build_method(config, frozen=frozen).phases
    save_config(folder, config)
    save_arrays(folder / "frozen.safetensors", frozen)
    log = MetricsLog(folder / "metrics.jsonl")
    for step in range(STEP):
        log.append({"step": step + 1, "loss": 1.0, "seconds": 0.25})
    log.close()
    with Checkpoints(folder / "checkpoints" / phase.name) as checkpoints:
        checkpoints.save(STEP, phase.init(jax.random.key(0), None, None), config)
