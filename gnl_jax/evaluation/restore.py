"""From a run folder to its detector."""

import dataclasses
from pathlib import Path
from typing import Any

import flax.traverse_util
import jax
from ml_collections import ConfigDict

from gnl_jax.config_io import load_config, plain_config
from gnl_jax.data.load import load_task
from gnl_jax.data.protocol import Task
from gnl_jax.detection.detector import Detector, make_detector
from gnl_jax.methods.base import Method, Phase
from gnl_jax.methods.build import build_method, matmul_precision
from gnl_jax.training.arrays import load_arrays
from gnl_jax.training.checkpoint import Checkpoints

PyTree = Any
# Fields of `dataset` that say what is tested and where the images are, not what was learned.
TEST_FIELDS = (
    *("root", "mnist_m", "cache", "memory_mb"),
    *("shifts", "severity", "shifted", "corrupt_at", "ood", "limit_test"),
)


def restore_detector(
    workdir: str | Path,
    *,
    matching: str = "none",
    config: ConfigDict | None = None,
    task: Task | None = None,
    method: Method | None = None,
) -> tuple[Detector, int]:
    """The detector of a finished or interrupted run, from its folder alone, and the steps of all its phases.

    Args:
        workdir: the run folder.
        matching: to score with; of no meaning where `method` is given.
        config: may differ from the folder's, which is the default, as `check_evaluation` says.
        task: supplies the training images, by default those of the configuration.
        method: the one that `train` was given, if it was.

    Raises:
        ValueError: the folder holds no checkpoint; it is named.
    """
    folder = Path(workdir)
    config = load_config(folder) if config is None else config
    task = load_task(config.dataset, seed=config.seed) if task is None else task
    frozen = load_arrays(folder / "frozen.safetensors")
    if method is None:
        method = build_method(config, matching=matching, frozen=frozen)
    method = dataclasses.replace(method, frozen=frozen)
    state, steps = _last_state(folder, method)
    detector = make_detector(
        method,
        state,
        task.train,
        size=config.dataset.size,
        batch_size=config.eval.batch_size,
        precision=matmul_precision(config),
        devices=config.train.devices,
    )
    return detector, steps


def _last_state(folder: Path, method: Method) -> tuple[PyTree, int]:
    """The state of the last phase, None without one, and the steps of all phases."""
    if not method.phases:
        return None, 0
    *earlier, phase = method.phases
    template = jax.eval_shape(lambda: phase.init(jax.random.key(0), None, None))
    with Checkpoints(folder / "checkpoints" / phase.name) as checkpoints:
        restored = checkpoints.restore(template)
    if restored is None:
        raise ValueError(f"workdir {folder}: no checkpoint of phase {phase.name!r}, expected a trained run")
    return restored.state, restored.step + sum(_steps(folder, phase) for phase in earlier)


def _steps(folder: Path, phase: Phase) -> int:
    with Checkpoints(folder / "checkpoints" / phase.name) as checkpoints:
        return checkpoints.latest_step() or 0


def check_evaluation(saved: ConfigDict, requested: ConfigDict) -> None:
    """A run is evaluated as the detector it was trained to be: `eval.*` and `TEST_FIELDS` may differ, nothing else.

    Raises ValueError listing every other difference.
    """
    old, new = (flax.traverse_util.flatten_dict(plain_config(config), sep=".") for config in (saved, requested))
    free = {f"dataset.{field}" for field in TEST_FIELDS}
    differences = [
        f"{name}: saved {old.get(name)!r}, requested {new.get(name)!r}"
        for name in sorted(old.keys() | new.keys())
        if not name.startswith("eval.") and name not in free and old.get(name) != new.get(name)
    ]
    if differences:
        raise ValueError(
            f"config: this run was trained with other settings ({'; '.join(differences)}); expected the same, except "
            f"eval.*, {', '.join(sorted(free))}"
        )
