"""DINOv2: a vision transformer without labels, used frozen for its patch tokens."""

import functools
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import NamedTuple

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Float

from gnl_jax.array_types import Array
from gnl_jax.nn.position_embeddings import antialiased_bicubic, bicubic, resize_grid
from gnl_jax.nn.resnet import Match
from gnl_jax.nn.transformer import SMALL, Block, layer_norm

PATCH = 14  # pixels a side
POSITIONS = ("transformers", "original")


class Variant(NamedTuple):
    """Sizes of one DINOv2.

    Attributes:
        width: channels of a token.
        blocks: number of blocks.
        heads: attention heads a block.
        registers: register tokens, between the class token and the patches.
        grid: patches a side of the position embeddings; 37 are the 518 pixels of the training.
    """

    width: int
    blocks: int
    heads: int
    registers: int = 0
    grid: int = 37


VARIANTS: Mapping[str, Variant] = MappingProxyType(
    {
        "dinov2_vits14": Variant(384, 12, 6),
        "dinov2_vitb14": Variant(768, 12, 12),
        "dinov2_vitl14": Variant(1024, 24, 16),
        "dinov2_vits14_reg": Variant(384, 12, 6, registers=4),
        "dinov2_vitb14_reg": Variant(768, 12, 12, registers=4),
        "dinov2_vitl14_reg": Variant(1024, 24, 16, registers=4),
    }
)


class Features(NamedTuple):
    """What DINOv2 gives for a batch of images; one entry a chosen block in the first three.

    Attributes:
        patches: patch tokens.
        classes: class tokens.
        registers: register tokens; r is 0 without registers.
        last: the last block's tokens after the final LayerNorm: class, registers, patches in raster
            order (transformers' `last_hidden_state`). In a jitted function that does not use it, the blocks after
            the last chosen one are not computed.
    """

    patches: tuple[Float[Array, "b h/14 w/14 c"], ...]
    classes: tuple[Float[Array, "b c"], ...]
    registers: tuple[Float[Array, "b r c"], ...]
    last: Float[Array, "b 1+r+n c"]


class DinoV2(nn.Module):
    """DINOv2 under the parameter names of the published files.

    Attributes:
        variant: its sizes, `VARIANTS[name]`.
        positions: how position embeddings reach another grid. "transformers": to the grid's size. "original": with
            0.1 added to the size, as the published code does for variants without registers; the two agree for
            variants with registers, which resize with antialiasing.

    References:
        Oquab et al., DINOv2 (2023); Darcet et al., Vision Transformers Need Registers (2023).
    """

    variant: Variant
    positions: str = "transformers"

    def __call__(
        self, images: Float[Array, "b h w 3"], match: Match | None = None
    ) -> tuple[Float[Array, "b h//14 w//14 {self.variant.width}"], ...]:
        """A stage for each block: its patch tokens, those of the last block after the final LayerNorm.

        Args:
            images, match: as for `features`.

        Returns:
            Features for each block. In a jitted function the blocks after the last stage it uses are not
            computed.
        """
        found = self.features(images, tuple(range(1, self.variant.blocks + 1)), match)
        last = found.last[:, 1 + self.variant.registers :].reshape(found.patches[-1].shape)
        return (*found.patches[:-1], last)

    def classes(
        self, images: Float[Array, "b h w 3"], match: Match | None = None
    ) -> tuple[Float[Array, "b 1 1 {self.variant.width}"], ...]:
        """The class token of each block, that of the last block after the final LayerNorm."""
        found = self.features(images, tuple(range(1, self.variant.blocks + 1)), match)
        return tuple(x[:, None, None] for x in (*found.classes[:-1], found.last[:, 0]))

    @nn.compact
    def features(
        self, images: Float[Array, "b h w 3"], layers: tuple[int, ...] = (), match: Match | None = None
    ) -> Features:
        """Tokens of chosen blocks.

        Args:
            images: normalised with ImageNet's mean and deviation; h and w multiples of 14.
            layers: the blocks whose tokens are wanted, from 1 to the number of blocks, in any order
                (k is transformers' `hidden_states[k]`).
            match: replaces the patch tokens [b h/14 w/14 c] of every block but the last before they are returned and
                before the next block sees them: `match(block, patches)`, as `ResNet`'s hook. Class and register tokens
                stay as they are.

        Returns:
            `Features`, in the order of `layers`.

        Raises:
            ValueError: images of another shape, a block that does not exist, an unknown `positions`.
        """
        sizes = self.variant
        _check(images, layers, sizes, self.positions)
        b, h, w, _ = images.shape
        first = 1 + sizes.registers

        def matched(match: Match, block: int, x: Array) -> Array:
            patches = x[:, first:].reshape(b, h // PATCH, w // PATCH, -1)
            found = match(block, patches)
            if found is patches:
                return x
            return jnp.concatenate([x[:, :first], found.reshape(b, -1, sizes.width)], axis=1)

        x = Embeddings(sizes, self.positions, name="embeddings")(images)
        tokens = Encoder(sizes, name="encoder")(x, functools.partial(matched, match) if match else None)
        chosen = [tokens[k - 1] for k in layers]
        return Features(
            patches=tuple(x[:, first:].reshape(b, h // PATCH, w // PATCH, -1) for x in chosen),
            classes=tuple(x[:, 0] for x in chosen),
            registers=tuple(x[:, 1:first] for x in chosen),
            last=layer_norm("layernorm")(tokens[-1]),
        )


class Embeddings(nn.Module):
    """Images -> tokens: class, registers, patches in raster order."""

    variant: Variant
    positions: str

    @nn.compact
    def __call__(self, images: Float[Array, "b h w 3"]) -> Float[Array, "b t {self.variant.width}"]:
        """Tokens of images whose sides are multiples of 14."""
        width, _, _, registers, grid = self.variant
        cls_token = self.param("cls_token", SMALL, (1, 1, width))
        positions = self.param("position_embeddings", SMALL, (1, 1 + grid * grid, width))
        patches = Patches(width, name="patch_embeddings")(images)
        b, h, w, _ = patches.shape
        resized = patch_positions(positions, h, w, sizes=self.variant, positions=self.positions)
        patches = (patches + resized[None].astype(patches.dtype)).reshape(b, h * w, width)
        tokens = [cls_token[0] + positions[0, :1]]
        if registers:
            tokens.append(self.param("register_tokens", SMALL, (1, registers, width))[0])
        leading = jnp.concatenate(tokens).astype(patches.dtype)
        return jnp.concatenate([jnp.broadcast_to(leading, (b, *leading.shape)), patches], axis=1)


def patch_positions(
    embeddings: Float[Array, "1 n c"], h: int, w: int, *, sizes: Variant, positions: str
) -> Float[Array, "{h} {w} c"]:
    """Position embeddings of patches on another grid, from those of a network's class token and patches."""
    if sizes.registers:
        resize = antialiased_bicubic
    else:
        resize = functools.partial(bicubic, offset=0.1 if positions == "original" else 0.0)
    return resize_grid(embeddings[0, 1:].reshape(sizes.grid, sizes.grid, sizes.width), h, w, resize=resize)


class Patches(nn.Module):
    """One linear map of every patch."""

    features: int

    @nn.compact
    def __call__(self, images: Float[Array, "b h w 3"]) -> Float[Array, "b h//14 w//14 {self.features}"]:
        """Features of every patch."""
        b, h, w, c = images.shape
        x = images.reshape(b, h // PATCH, PATCH, w // PATCH, PATCH, c)
        x = jnp.moveaxis(x, 2, 3)
        return PatchProjection(self.features, name="projection")(x)


class PatchProjection(nn.Module):
    """A convolution with its stride as its kernel, as a matrix product."""

    features: int

    @nn.compact
    def __call__(self, x: Float[Array, "b h w 14 14 3"]) -> Float[Array, "b h w {self.features}"]:
        """Features of patches."""
        kernel = self.param("kernel", SMALL, (*x.shape[-3:], self.features))
        bias = self.param("bias", nn.initializers.zeros, (self.features,))
        x = x.reshape(*x.shape[:-3], -1)
        y = x @ kernel.reshape(-1, self.features).astype(x.dtype)
        return y + bias.astype(x.dtype).reshape(1, 1, 1, -1)


class Encoder(nn.Module):
    """The blocks, one after the other; `match` as all tokens see it."""

    variant: Variant

    @nn.compact
    def __call__(
        self, x: Float[Array, "b t c"], match: Callable[[int, Array], Array] | None = None
    ) -> list[Float[Array, "b t c"]]:
        """The tokens after each block, the first block first."""
        tokens = []
        for block in range(1, self.variant.blocks + 1):
            x = Block(self.variant.heads, name=f"layer_{block - 1}")(x)
            if match is not None and block < self.variant.blocks:
                x = match(block, x)
            tokens.append(x)
        return tokens


def _check(images: Array, layers: tuple[int, ...], sizes: Variant, positions: str) -> None:
    if images.ndim != 4 or images.shape[-1] != 3 or not all(n and n % PATCH == 0 for n in images.shape[1:3]):
        raise ValueError(f"images: got shape {images.shape}, expected [b h w 3] with h and w multiples of {PATCH}")
    if not all(1 <= k <= sizes.blocks for k in layers):
        raise ValueError(f"layers: got {tuple(layers)}, expected numbers of blocks from 1 to {sizes.blocks}")
    if positions not in POSITIONS:
        raise ValueError(f"positions: got {positions!r}, expected one of {', '.join(POSITIONS)}")
