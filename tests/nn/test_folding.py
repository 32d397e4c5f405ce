"""Networks whose statistics are folded into their kernels, against the same networks as they were trained."""

import flax.traverse_util
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gnl_jax.nn.decoder import Student
from gnl_jax.nn.folding import fold
from gnl_jax.nn.resnet import ResNet

RNG = np.random.default_rng(0)
IMAGES = RNG.standard_normal((2, 32, 32, 3))


def trained(module, *inputs):
    """Variables of a module as training might leave them: positive variances and scales, no zero left."""

    def drawn(path, leaf):
        values = RNG.standard_normal(leaf.shape)
        return 0.5 + np.abs(values) if path[-1].key in ("var", "scale") else 0.2 * values

    return jax.tree_util.tree_map_with_path(drawn, jax.eval_shape(module.init, jax.random.key(0), *inputs))


@pytest.mark.slow
@pytest.mark.parametrize("arch", ["resnet18", "resnet50"])
def test_folded_networks_score_as_they_did(arch):
    with jax.enable_x64(True):
        teacher = trained(ResNet(arch), IMAGES)
        stages = jax.eval_shape(ResNet(arch).apply, teacher, IMAGES)
        student = trained(Student(arch), stages)

        @jax.jit
        def outputs(teacher, student):
            stages = ResNet(arch).apply(teacher, IMAGES)
            return stages, Student(arch).apply(student, stages)

        expected, got = outputs(teacher, student), outputs(fold(teacher), fold(student))
    for a, b in zip(jax.tree.leaves(got), jax.tree.leaves(expected), strict=True):
        assert a.dtype == jnp.float64
        assert np.linalg.norm(a - b) <= 1e-12 * np.linalg.norm(b)


def test_what_is_left_is_kernels_and_biases_and_folding_again_changes_nothing():
    teacher = trained(ResNet(), IMAGES)
    folded = fold(teacher)
    assert set(folded) == {"params"}
    names = [path[-1] for path in flax.traverse_util.flatten_dict(folded["params"])]
    assert names.count("kernel") == names.count("bias") == len(names) / 2
    jax.tree.map(np.testing.assert_array_equal, fold(folded), folded)


@pytest.mark.slow
def test_a_folded_network_cannot_be_trained():
    teacher = trained(ResNet(), IMAGES)
    student = trained(Student(), jax.eval_shape(ResNet().apply, teacher, IMAGES))
    stages = jax.eval_shape(ResNet().apply, teacher, IMAGES)
    with pytest.raises(Exception, match="scale"):
        jax.eval_shape(
            lambda v, s: Student().apply(v, s, np.ones(2, bool), mutable=["statistics"]), fold(student), stages
        )
