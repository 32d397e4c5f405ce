"""The teacher: an ImageNet ResNet up to its third stage."""

import functools
from collections.abc import Callable

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Float

from gnl_jax.array_types import Array
from gnl_jax.nn.batch_norm import BatchNorm
from gnl_jax.nn.blocks import architecture, stage
from gnl_jax.nn.layers import Conv, max_pool_3x3
from gnl_jax.ops.kept_value import kept_value

Match = Callable[[int, Float[Array, "n h w c"]], Float[Array, "n h w c"]]


class ResNet(nn.Module):
    """The first three stages of a torchvision ResNet, always with stored statistics (methods: the frozen teacher).

    images [b s s 3], normalised as the weights expect, s a multiple of 32 -> (E1 [b s/4 s/4 64e], E2 [b s/8 s/8 128e],
    E3 [b s/16 s/16 256e]) with e = 1 (ResNet-18) or 4. layer4 and the classifier take no part and are left out.

    `match(stage, features)` (stage 1 or 2), if given, replaces the output of that stage before it is returned and
    before the next stage sees it: feature distribution matching (Eq. 4) is this hook.
    """

    arch: str = "resnet18"

    @nn.compact
    def __call__(
        self, images: Float[Array, "b h w 3"], match: Match | None = None
    ) -> tuple[Float[Array, "b h//4 w//4 c1"], Float[Array, "b h//8 w//8 c2"], Float[Array, "b h//16 w//16 c3"]]:
        """The stages (E1, E2, E3) of images; ValueError for another shape."""
        arch = architecture(self.arch)
        if images.ndim != 4 or images.shape[1] % 32 or images.shape[2] % 32:
            raise ValueError(f"images: got shape {images.shape}, expected [b s s 3] with s a multiple of 32")
        x = Conv(64, 7, stride=2, name="conv1")(images)
        x = nn.relu(BatchNorm(name="bn1")(x))
        x = kept_value(max_pool_3x3(x))
        stages = []
        for k in (1, 2, 3):
            change = "same" if k == 1 else "down"
            x = stage(
                x,
                None,
                arch=arch,
                planes=32 * 2**k,
                blocks=arch.blocks[k - 1],
                change=change,
                name=f"layer{k}",
            )
            if match is not None and k < 3:
                x = match(k, x)
            stages.append(x)
        first, second, third = stages
        return first, second, third


@functools.partial(jax.jit, static_argnames="arch")
def init_teacher(key: Array, arch: str):
    """Random teacher variables (torchvision's initialisation) for `ResNet(arch)`."""
    return ResNet(arch).init(key, jnp.zeros((1, 32, 32, 3)))
