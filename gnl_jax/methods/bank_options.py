"""What a memory bank may be: its sizes and stages, what its rows are, and how a score comes of them."""

from collections.abc import Sequence
from fractions import Fraction
from typing import NamedTuple

from gnl_jax.images.augmix import AugMixOptions

CORESETS, SCORES = ("random", "k_center"), ("map", "patches")


class BankSize(NamedTuple):
    """One bank: the images' side as a share of the detector's, and the stages whose features are its rows."""

    scale: Fraction
    stages: tuple[int, ...]

    def side(self, size: int) -> int:
        """Side in pixels of the images that this bank sees, of a detector of `size` pixels."""
        return int(size * self.scale)


class BankOptions(NamedTuple):
    """Attributes:
    sizes: one bank each; with several, their maps are standardised and added.
    pixels: whether, with a matching, an image is first given the mean brightness of each channel and the contrast of
        the bank's images (`ops/pixels.py`).
    matched: stages whose features are matched; (1, 2) as in the paper, or fewer, or 3 as well.
    last_alpha: the weight of the bank's style at stage 3, which no later stage sees; `Scoring.alpha` is that of the
        others.
    rows: of a bank, at most; all patches where there are fewer. Below 1: the share of all patches.
    coreset: how they are drawn from the candidates: "random", or "k_center", greedily, each the farthest from those
        before.
    candidates: patches that a coreset is drawn from, themselves drawn at random.
    projection: dimensions of the sparse random projection that k-centre distances are measured in; 0 for none.
    views: views of each good image whose patches are candidates too, beside the image itself.
    augmix: of views "augmix".
    components: principal components of the candidates that are kept; 0 keeps the features as they are.
    embedding: a key of `ops.patches.EMBEDDINGS`: "patches"; or "pooled" or "flattened", the whole image as one row,
        which has a score and no map.
    distance: a key of `ops.nearest.DISTANCES`: "euclidean", or "cosine".
    score: "map", the largest value of the smoothed map; "patches", PatchCore's re-weighted largest distance.
    neighbours: of that re-weighting.
    batch_size: images that go through the teacher at once while a bank is made; 0 for `images_of_a_pass`.
    """

    sizes: tuple[BankSize, ...] = (BankSize(Fraction(1), (2, 3)),)
    pixels: bool = False
    matched: tuple[int, ...] = (1, 2)
    last_alpha: float = 1.0
    rows: float = 4000
    coreset: str = "random"
    candidates: int = 100_000
    projection: int = 128
    views: tuple[str, ...] = ()
    augmix: AugMixOptions = AugMixOptions()
    components: int = 0
    embedding: str = "patches"
    distance: str = "euclidean"
    score: str = "map"
    neighbours: int = 9
    batch_size: int = 0

    @property
    def has_map(self) -> bool:
        """Whether images have a score map: those that are one row of a bank have none."""
        return self.embedding == "patches"


def parse_sizes(texts: Sequence[str], *, size: int) -> tuple[BankSize, ...]:
    """Banks as a configuration writes them: "1:2+3" is the whole side and stages 2 and 3, "1/2:3" half of it, stage 3.

    Raises:
        ValueError: a text that is no such thing, a stage that the teacher lacks, a side that is no multiple of 32.
    """
    field = "method.memory_bank.sizes"
    if not texts:
        raise ValueError(f"{field}: got none, expected one or more such as '1:2+3'")
    banks = []
    for text in texts:
        scale, _, stages = text.partition(":")
        try:
            bank = BankSize(Fraction(scale), tuple(sorted({int(stage) for stage in stages.split("+")})))
        except (ValueError, ZeroDivisionError):
            raise ValueError(f"{field}: got {text!r}, expected SCALE:STAGES such as '1:2+3' or '1/2:3'") from None
        if not set(bank.stages) <= {1, 2, 3}:
            raise ValueError(f"{field}: got {text!r}, expected stages of 1, 2 and 3: the teacher has no others")
        if not 0 < bank.scale <= 1 or (size * bank.scale) % 32:
            raise ValueError(
                f"{field}: got {text!r}, expected a share of dataset.size, {size}, that is a multiple of 32 pixels"
            )
        banks.append(bank)
    return tuple(banks)
