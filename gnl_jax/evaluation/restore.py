"""From a run folder to its detector."""

from pathlib import Path

import flax.traverse_util
import jax
from ml_collections import ConfigDict

from gnl_jax.config_io import load_config, plain_config
from gnl_jax.data.load import load_task
from gnl_jax.data.protocol import Task
from gnl_jax.detection.detector import Detector, make_detector
from gnl_jax.methods.base import Phase
from gnl_jax.methods.build import build_method, matmul_precision
from gnl_jax.training.arrays import load_arrays
from gnl_jax.training.checkpoint import Checkpoints

# Fields of `dataset` that say what is tested and where the images are, not what was learned.
TEST_FIELDS = (
    *("root", "mnist_m", "cache", "memory_mb"),
    *("shifts", "severity", "shifted", "corrupt_at", "ood", "limit_test"),
)


def restore_detector(
    workdir: str | Path, *, matching: str, config: ConfigDict | None = None, task: Task | None = None
) -> tuple[Detector, int]:
    """The detector of a finished or interrupted run, from its folder alone, and the steps of all its phases.

    `config` (default: the folder's) may differ as `check_evaluation` says; `task` (default: the config's) supplies the
    anchors. Raises ValueError naming the folder if it holds no checkpoint.
    """
    folder = Path(workdir)
    config = load_config(folder) if config is None else config
    task = load_task(config.dataset, seed=config.seed) if task is None else task
    method = build_method(config, matching=matching, frozen=load_arrays(folder / "frozen.safetensors"))
    *earlier, phase = method.phases
    template = jax.eval_shape(lambda: phase.init(jax.random.key(0), None, None))
    with Checkpoints(folder / "checkpoints" / phase.name) as checkpoints:
        restored = checkpoints.restore(template)
    if restored is None:
        raise ValueError(f"workdir {folder}: no checkpoint of phase {phase.name!r}, expected a trained run")
    detector = make_detector(
        method,
        restored.state,
        task.train,
        size=config.dataset.size,
        batch_size=config.eval.batch_size,
        precision=matmul_precision(config),
    )
    return detector, restored.step + sum(_steps(folder, phase) for phase in earlier)


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
