"""The one-class bottleneck embedding: multi-scale feature fusion, then one more ResNet stage."""

import flax.linen as nn
import jax
import jax.numpy as jnp

from gnl_jax.nn.batch_norm import BatchNorm
from gnl_jax.nn.blocks import architecture, stage
from gnl_jax.nn.layers import Conv


class Bottleneck(nn.Module):
    """MFF + OCBE of RD4AD: teacher stages (E1, E2, E3) -> embedding phi [b s/32 s/32 512e].

    The published module also builds conv4 and bn4 and never uses them; they are left out.
    """

    arch: str = "resnet18"
    remat: bool = False

    @nn.compact
    def __call__(self, stages: tuple[jax.Array, jax.Array, jax.Array], valid: jax.Array | None = None) -> jax.Array:
        arch = architecture(self.arch)
        e = arch.expansion

        def halve(x: jax.Array, features: int, i: int) -> jax.Array:
            return nn.relu(BatchNorm(name=f"bn{i}")(Conv(features, 3, stride=2, name=f"conv{i}")(x), valid))

        low, middle, high = stages
        low = halve(halve(low, 128 * e, 1), 256 * e, 2)
        fused = jnp.concatenate([low, halve(middle, 256 * e, 3), high], axis=-1)
        blocks = arch.blocks[3]
        return stage(
            fused, valid, arch=arch, planes=512, blocks=blocks, change="down", name="bn_layer", remat=self.remat
        )
