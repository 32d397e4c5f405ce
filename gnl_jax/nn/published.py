"""Students trained by the published PyTorch code of RD4AD and GNL, as variables of ours."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp

from gnl_jax.nn.decoder import Student
from gnl_jax.nn.teachers import teacher_record
from gnl_jax.nn.torch_keys import from_torch
from gnl_jax.nn.weight_files import NETWORKS, READERS, read_bytes

# Part of ours -> its name in a published checkpoint, {"bn": state dict, "decoder": state dict}.
PARTS = dict(zip(("bottleneck", "decoder"), NETWORKS, strict=True))
UNUSED = ("conv4.", "bn4.")  # of the published bottleneck: built, saved and never used


def load_student(arch: str, path: str | Path) -> dict[str, Any]:
    """Variables of `Student(arch)`, float32: {"params": {"bottleneck", "decoder"}, "batch_stats": {...}}.

    path: a published checkpoint `.pth` (with the extra `torch`, read with weights_only), or its tensors as
    `.safetensors` or `.npz` under "bn." and "decoder.". Raises ValueError naming the file and every key that is missing
    or does not fit.
    """
    path = Path(path).expanduser()
    if path.suffix not in READERS:
        raise ValueError(f"student {str(path)!r}: expected a .pth, .safetensors or .npz file")
    tensors = READERS[path.suffix](read_bytes(path), path)
    expected = student_shapes(arch)
    variables: dict[str, Any] = {"params": {}, "batch_stats": {}}
    for part, prefix in PARTS.items():
        mine = {key.removeprefix(f"{prefix}."): v for key, v in tensors.items() if key.startswith(f"{prefix}.")}
        if not mine:
            raise ValueError(f"{path}: no tensors under {prefix!r}, expected a checkpoint with 'bn' and 'decoder'")
        of_part = {collection: expected[collection][part] for collection in variables}
        converted = from_torch(mine, of_part, ignore=UNUSED, source=f"{path}, {prefix}")
        for collection in variables:
            variables[collection][part] = converted[collection]
    return jax.tree.map(jnp.asarray, variables)


def student_shapes(arch: str) -> Mapping[str, Any]:
    """The variables of the student that learns the teacher `arch`, as ShapeDtypeStruct."""
    teacher = teacher_record(arch)
    sides = [32 // stride for stride in teacher.strides]
    stages = tuple(
        jax.ShapeDtypeStruct((1, side, side, channels), jnp.float32) for side, channels in zip(sides, teacher.channels)
    )
    return jax.eval_shape(Student(teacher.student).init, jax.random.key(0), stages)
