"""Patches that a bank's rows are chosen from: drawn before the images are looked at, kept as they go by."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import jax
import numpy as np

from gnl_jax.methods.bank_memory import BankNeed
from gnl_jax.methods.bank_options import BankOptions


@dataclass(frozen=True)
class Candidates:
    """The drawn patches of one bank: [m c] however many images there are.

    Attributes:
        drawn: their numbers, ascending, [m]; patches are numbered by view, image and place.
        rows: how many of them make the bank.
        patches, images: of one image and view; of a pass.
        found: float32 [m c], filled as the images go by.
    """

    drawn: np.ndarray
    rows: int
    patches: int
    images: int
    found: np.ndarray

    @classmethod
    def drawn_from(cls, need: BankNeed, *, images: int, views: int, seed: list[int]) -> "Candidates":
        """As many as a bank needs of all the patches of images and their views, by a seed."""
        total = need.patches * images * views
        drawn = np.sort(np.random.default_rng(seed).choice(total, need.candidates, replace=False))
        found = np.empty((need.candidates, need.channels), np.float32)
        return cls(drawn, need.rows, need.patches, images, found)

    def take(self, embedding: np.ndarray, *, view: int, start: int) -> None:
        """Keeps what was drawn of the patches [k h w c] of the images from `start` on."""
        first = (view * self.images + start) * self.patches
        flat = embedding.reshape(-1, embedding.shape[-1])
        low, high = np.searchsorted(self.drawn, [first, first + len(flat)])
        self.found[low:high] = flat[self.drawn[low:high] - first]

    def result(self) -> tuple[np.ndarray, np.ndarray, int]:
        """(candidates [m c], the image of each, int32 [m], how many of them make the bank)."""
        owners = self.drawn // self.patches % self.images
        return self.found, owners.astype(np.int32), self.rows


def bank_rows(total: int, *, rows: float) -> int:
    """How many of `total` patches make a bank: `rows` of them, or that share where it is below 1."""
    return min(max(1, int(total * rows)) if rows < 1 else int(rows), total)


def candidate_count(total: int, *, rows: int, options: BankOptions) -> int:
    """How many of `total` patches are looked at to find a bank's rows."""
    return min(rows if options.coreset == "random" else max(options.candidates, rows), total)


def bank_needs(
    embeddings: Sequence[jax.ShapeDtypeStruct], *, images: int, rows: Callable[[int, int], int], options: BankOptions
) -> list[BankNeed]:
    """What each bank holds while it is built.

    Args:
        embeddings: of a batch, [b h w c] for each bank.
        images: how many are learned from.
        rows: (number of the bank, number of patches) -> how many of them its rows will be.
        options: what the banks are.
    """
    found = []
    for i, (_, h, w, c) in enumerate(embedding.shape for embedding in embeddings):
        total = h * w * images * (1 + len(options.views))
        kept = rows(i, total)
        found.append(BankNeed(kept, candidate_count(total, rows=kept, options=options), h * w, c))
    return found
