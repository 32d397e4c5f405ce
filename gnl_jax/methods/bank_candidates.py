"""Patches that a bank's rows are chosen from: drawn before the images are looked at, kept as they go by."""

from dataclasses import dataclass, field

import numpy as np

from gnl_jax.methods.bank_options import BankOptions


@dataclass(frozen=True)
class Candidates:
    """The drawn patches of one bank: [m c] however many images there are.

    Attributes:
        drawn: their numbers, ascending, [m]; patches are numbered by view, image and place.
        rows: how many of them make the bank.
        patches, images: of one image and view; of a pass.
        found: what was kept so far.
    """

    drawn: np.ndarray
    rows: int
    patches: int
    images: int
    found: list[np.ndarray] = field(default_factory=list)

    @classmethod
    def drawn_from(
        cls, total: int, count: int, *, rows: int, patches: int, images: int, seed: list[int]
    ) -> "Candidates":
        """`count` of `total` patches, by a seed."""
        drawn = np.sort(np.random.default_rng(seed).choice(total, count, replace=False))
        return cls(drawn, rows, patches, images)

    def take(self, embedding: np.ndarray, *, view: int, start: int) -> None:
        """Keeps what was drawn of the patches [k h w c] of the images from `start` on."""
        first = (view * self.images + start) * self.patches
        flat = embedding.reshape(-1, embedding.shape[-1])
        low, high = np.searchsorted(self.drawn, [first, first + len(flat)])
        self.found.append(flat[self.drawn[low:high] - first])

    def result(self) -> tuple[np.ndarray, np.ndarray, int]:
        """(candidates [m c], the image of each, int32 [m], how many of them make the bank)."""
        owners = self.drawn // self.patches % self.images
        return np.concatenate(self.found), owners.astype(np.int32), self.rows


def bank_rows(total: int, *, rows: float) -> int:
    """How many of `total` patches make a bank: `rows` of them, or that share where it is below 1."""
    return min(max(1, int(total * rows)) if rows < 1 else int(rows), total)


def candidate_count(total: int, *, rows: int, options: BankOptions) -> int:
    """How many of `total` patches are looked at to find a bank's rows."""
    return min(rows if options.coreset == "random" else max(options.candidates, rows), total)
