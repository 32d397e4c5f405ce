"""Students of the published code: every array in its place, the dead ones passed over, the rest refused by name."""

import functools

import jax
import numpy as np
import pytest
import safetensors.numpy

from gnl_jax.nn.published import load_student, student_shapes
from gnl_jax.nn.torch_keys import to_torch

RNG = np.random.default_rng(0)


@functools.cache
def checkpoint():
    """(variables of a student, the same as a published checkpoint has it, dead arrays and counters included)."""
    shapes = student_shapes("resnet18")
    variables = jax.tree.map(lambda leaf: RNG.normal(size=leaf.shape).astype(np.float32), shapes)
    tensors = {}
    for part, prefix in (("bottleneck", "bn"), ("decoder", "decoder")):
        of_part = {collection: variables[collection][part] for collection in ("params", "batch_stats")}
        tensors |= {f"{prefix}.{key}": value for key, value in to_torch(of_part).items()}
    tensors["bn.conv4.weight"] = np.zeros((512, 1024, 1, 1), np.float32)
    tensors |= {f"bn.bn4.{key}": np.zeros(512, np.float32) for key in ("weight", "bias", "running_mean", "running_var")}
    tensors["bn.bn1.num_batches_tracked"] = np.array(7)
    return variables, tensors


def saved(tmp_path, tensors):
    path = tmp_path / "student.safetensors"
    path.write_bytes(safetensors.numpy.save(tensors))
    return path


@pytest.mark.slow
def test_every_array_is_in_its_place(tmp_path):
    variables, tensors = checkpoint()
    loaded = load_student("resnet18", saved(tmp_path, tensors))
    jax.tree.map(np.testing.assert_array_equal, loaded, {name: variables[name] for name in loaded})
    assert loaded.keys() == {"params", "batch_stats"}


def test_its_names_are_the_published_ones():
    _, tensors = checkpoint()
    assert {
        "bn.bn_layer.0.downsample.1.running_var",
        "bn.conv1.weight",
        "decoder.layer1.0.conv1.weight",
    } <= tensors.keys()


def test_what_does_not_fit_is_named(tmp_path):
    _, tensors = checkpoint()
    without = {key: value for key, value in tensors.items() if key != "bn.conv1.weight"}
    with pytest.raises(ValueError, match=r"student.safetensors, bn: conv1.weight: missing"):
        load_student("resnet18", saved(tmp_path, without))
    with pytest.raises(ValueError, match=r"got shape"):
        load_student("wide_resnet50_2", saved(tmp_path, tensors))
    teacher = {"conv1.weight": np.zeros((64, 3, 7, 7), np.float32)}
    with pytest.raises(ValueError, match="no tensors under 'bn'"):
        load_student("resnet18", saved(tmp_path, teacher))
    with pytest.raises(ValueError, match=r"expected a \.pth, \.safetensors or \.npz file"):
        load_student("resnet18", tmp_path / "student.bin")
