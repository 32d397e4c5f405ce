"""Between our weights and the published networks: there and back, and the views that both are given."""

import functools

import jax
import numpy as np
import torch
from ml_collections import ConfigDict

from experiments.speed.published_torch import Networks, make_step
from gnl_jax.images.views import make_views
from gnl_jax.methods.options import augmix_options
from gnl_jax.methods.reverse_distillation import TrainState
from gnl_jax.nn.torch_keys import from_torch, to_torch

# What the published step has, whatever the configuration says.
FIXED = {
    "method.name": "gnl",
    "method.loss_ori": 0.9,
    "method.loss_abs": 0.05,
    "method.loss_lowf": 0.05,
    "train.learning_rate": 0.005,
    "train.beta1": 0.5,
    "train.beta2": 0.999,
    "precision": "float32",
}


def check_published(config: ConfigDict) -> None:
    """Raises ValueError naming a field that is set to what the published step does not have."""
    for field, value in FIXED.items():
        if (got := functools.reduce(getattr, field.split("."), config)) != value:
            raise ValueError(f"{field}: got {got!r}, expected {value!r}, as the published step has it")


def view_maker(config: ConfigDict):
    method = config.method
    options = {"views": tuple(method.views), "normalise": method.normalise, "augmix": augmix_options(method.augmix)}
    return jax.jit(functools.partial(make_views, **options))


def published_step(config: ConfigDict, teacher, student, dtype: torch.dtype):
    """(the published networks with the same weights, a function that takes a step: views [v b 3 s s] -> losses)."""
    networks = Networks(config.teacher.arch).to(dtype)
    variables = {"params": student.params, "batch_stats": student.batch_stats}
    parts = {part: {kind: tree[part] for kind, tree in variables.items()} for part in ("bottleneck", "decoder")}
    for part, tree in {"teacher": teacher, **parts}.items():
        state = {key: torch.from_numpy(np.array(value)).to(dtype) for key, value in to_torch(tree).items()}
        missing, unexpected = getattr(networks, part).load_state_dict(state, strict=False)
        if unexpected or any(not key.endswith("num_batches_tracked") for key in missing):
            raise ValueError(f"{part}: missing {missing}, unexpected {unexpected}")
    views = torch.zeros(1, dtype=dtype)
    step = make_step(networks, views, teacher_gradient=False)

    def run(found: np.ndarray) -> dict[str, float]:
        views.resize_(found.shape).copy_(torch.from_numpy(found))
        return step()

    return networks, run


def student_of(networks: torch.nn.Module, state: TrainState) -> TrainState:
    """`state` with the weights and statistics of the published bottleneck and decoder."""
    expected = {"params": state.params, "batch_stats": state.batch_stats}
    found: dict[str, dict] = {"params": {}, "batch_stats": {}}
    for part in ("bottleneck", "decoder"):
        arrays = {key: value.numpy() for key, value in getattr(networks, part).state_dict().items()}
        variables = from_torch(arrays, {kind: tree[part] for kind, tree in expected.items()}, source=part)
        for kind, tree in variables.items():
            found[kind][part] = tree
    return state._replace(params=found["params"], batch_stats=found["batch_stats"])
