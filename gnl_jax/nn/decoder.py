"""The student decoder: a ResNet run backwards, from the embedding to the teacher's three stages."""

import flax.linen as nn
from jaxtyping import Bool, Float

from gnl_jax.array_types import Array
from gnl_jax.nn.blocks import architecture, planes_of, stage
from gnl_jax.nn.bottleneck import Bottleneck, ThreeStages


class Decoder(nn.Module):
    """phi [b h/8 w/8 2 c3] -> (D1, D2, D3), shaped as the teacher's (E1, E2, E3): the last stage comes first.

    `channels`: (c1, c2, c3) of the teacher's stages; by default a ResNet's, (64e, 128e, 256e).
    """

    arch: str = "resnet18"
    remat: bool = False

    @nn.compact
    def __call__(
        self,
        embedding: Float[Array, "b *v h8 w8 c"],
        valid: Bool[Array, "b"] | None = None,
        channels: tuple[int, int, int] | None = None,
    ) -> ThreeStages:
        """The stages (D1, D2, D3) from phi; `valid` as for `BatchNorm`."""
        arch = architecture(self.arch)
        widths = channels or tuple(n * arch.expansion for n in (64, 128, 256))
        x, stages = embedding, list[Array]()
        for k, features in enumerate(reversed(widths), start=1):
            # [3, 4, 6] blocks from coarse to fine, the same order as the teacher's.
            x = stage(
                x,
                valid,
                arch=arch,
                planes=planes_of(features, arch),
                blocks=arch.blocks[k - 1],
                change="up",
                name=f"layer{k}",
                remat=self.remat,
            )
            stages.append(x)
        third, second, first = stages
        return first, second, third


class Student(nn.Module):
    """Everything that is trained: (E1, E2, E3) -> (phi, (D1, D2, D3))."""

    arch: str = "resnet18"
    remat: bool = False

    def setup(self) -> None:
        """Makes the two networks."""
        self.bottleneck = Bottleneck(self.arch, self.remat)
        self.decoder = Decoder(self.arch, self.remat)

    def __call__(
        self, stages: ThreeStages, valid: Bool[Array, "b"] | None = None
    ) -> tuple[Float[Array, "b *v h//8 w//8 2*c3"], ThreeStages]:
        """Phi, and the stages rebuilt from it; `valid` as for `BatchNorm`."""
        embedding = self.bottleneck(stages, valid)
        first, second, third = stages
        return embedding, self.decoder(embedding, valid, (first.shape[-1], second.shape[-1], third.shape[-1]))
