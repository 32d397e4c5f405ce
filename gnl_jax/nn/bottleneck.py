"""The one-class bottleneck embedding: multi-scale feature fusion, then one more ResNet stage."""

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Bool, Float

from gnl_jax.array_types import Array
from gnl_jax.nn.batch_norm import BatchNorm
from gnl_jax.nn.blocks import architecture, planes_of, stage
from gnl_jax.nn.layers import Conv

ThreeStages = tuple[Float[Array, "b *v h w c1"], Float[Array, "b *v h//2 w//2 c2"], Float[Array, "b *v h//4 w//4 c3"]]


class Bottleneck(nn.Module):
    """MFF + OCBE of RD4AD: teacher stages (E1, E2, E3) -> embedding phi at half of E3's side, with twice its channels.

    Widths are those of the stages: for a ResNet 64e, 128e and 256e, and phi
    is [b s/32 s/32 512e]. `arch` names the kind of residual block; 2 c3 is a multiple of its expansion.

    The published module also builds conv4 and bn4 and never uses them; they are left out.
    """

    arch: str = "resnet18"
    remat: bool = False

    @nn.compact
    def __call__(
        self, stages: ThreeStages, valid: Bool[Array, "b"] | None = None
    ) -> Float[Array, "b *v h//8 w//8 2*c3"]:
        """The embedding phi of the stages; `valid` as for `BatchNorm`."""
        arch = architecture(self.arch)
        _, c2, c3 = (stage.shape[-1] for stage in stages)

        def halve(x: Array, features: int, i: int) -> Array:
            return nn.relu(BatchNorm(name=f"bn{i}")(Conv(features, 3, stride=2, name=f"conv{i}")(x), valid))

        low, middle, high = stages
        low = halve(halve(low, c2, 1), c3, 2)
        fused = jnp.concatenate([low, halve(middle, c3, 3), high], axis=-1)
        return stage(
            fused,
            valid,
            arch=arch,
            planes=planes_of(2 * c3, arch),
            blocks=arch.blocks[3],
            change="down",
            name="bn_layer",
            remat=self.remat,
        )
