"""What a memory bank may be: its sizes and stages, what its rows are, and how a score comes of them."""

from collections.abc import Sequence
from fractions import Fraction
from typing import NamedTuple

from gnl_jax.images.augmix import AugMixOptions

CORESETS, SCORES = ("random", "k_center"), ("map", "patches", "top")
PIXEL_TARGETS, JOINS = ("mean", "range"), ("maps", "scores")
MAPPED = ("patches", "tokens")  # embeddings that have a score map
LAST = "last"  # the teacher's last stage, in a configuration


class BankSize(NamedTuple):
    """One bank: the images' side as a share of the detector's, and the stages whose features are its rows."""

    scale: Fraction
    stages: tuple[int, ...]

    def side(self, size: int) -> int:
        """Side in pixels of the images that this bank sees, of a detector of `size` pixels."""
        return int(size * self.scale)


class BankOptions(NamedTuple):
    """What a memory bank is made of.

    Attributes:
        sizes: one bank each; with several, their maps are standardised and added.
        joined: what of several banks' maps is added: "maps", place by place; or "scores", their largest values, to
            which the sum of the maps is raised as a whole.
        pixels: whether, with a matching, an image is first given the mean brightness of each channel and the contrast
            of the bank's images (`ops/pixels.py`).
        pixel_target: "mean", what these are on average; or "range", the nearest that is among them, so that an image
            as bright and as rich in contrast as a good one stays as it is.
        matched: stages whose features are matched; (1, 2) as in the paper, or fewer, or the last as well.
        last_alpha: the weight of the bank's style at the last stage, which no later stage sees; `Scoring.alpha` is that
            of the others.
        drift: stages that drift is measured at.
        rows: of a bank, at most; all patches where there are fewer. Below 1: the share of all patches.
        coreset: how they are drawn from the candidates: "random", or "k_center", greedily, each the farthest from those
            before.
        candidates: patches that a coreset is drawn from, themselves drawn at random.
        projection: dimensions of the sparse random projection that k-centre distances are measured in; 0 for none.
        views: views of each good image whose patches are candidates too, beside the image itself.
        augmix: of views "augmix".
        components: principal components of the candidates that are kept; 0 keeps the features as they are.
        embedding: a key of `ops.patches.EMBEDDINGS`: "patches", averaged over 3x3, or "tokens", as they are; or
            "pooled", "flattened" or "class", the whole image as one row, which has a score and no map.
        distance: a key of `ops.nearest.DISTANCES`: "euclidean", "unit" or "cosine".
        score: "map", the largest value of the smoothed map; "patches", PatchCore's re-weighted largest distance; "top",
            the mean of the largest hundredth of the distances.
        neighbours: of that re-weighting.
        batch_size: images that go through the teacher at once while a bank is made; 0 for `images_of_a_pass`.
    """

    sizes: tuple[BankSize, ...] = (BankSize(Fraction(1), (2, 3)),)
    joined: str = "maps"
    pixels: bool = False
    pixel_target: str = "mean"
    matched: tuple[int, ...] = (1, 2)
    last_alpha: float = 1.0
    drift: tuple[int, ...] = (1, 2)
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
        return self.embedding in MAPPED


def parse_sizes(texts: Sequence[str], *, size: int, stages: int = 3, multiple: int = 32) -> tuple[BankSize, ...]:
    """Banks as a configuration writes them: "1:2+3" is the whole side and stages 2 and 3, "1/2:3" half of it, stage 3.

    Args:
        texts: of each bank; "last" is the teacher's last stage.
        size: side of the detector's images in pixels.
        stages: how many the teacher has.
        multiple: of which each bank's side is one, as the teacher needs it.

    Raises:
        ValueError: a text that is no such thing, a stage that the teacher lacks, a side that it does not take.
    """
    field = "method.memory_bank.sizes"
    if not texts:
        raise ValueError(f"{field}: got none, expected one or more such as '1:2+3'")
    banks = []
    for text in texts:
        scale, _, chosen = text.partition(":")
        numbers = [str(stages) if stage == LAST else stage for stage in chosen.split("+")]
        try:
            bank = BankSize(Fraction(scale), tuple(sorted(set(map(int, numbers)))))
        except (ValueError, ZeroDivisionError):
            raise ValueError(f"{field}: got {text!r}, expected SCALE:STAGES such as '1:2+3' or '1/2:3'") from None
        if not set(bank.stages) <= set(range(1, stages + 1)):
            raise ValueError(f"{field}: got {text!r}, expected stages from 1 to {stages}: the teacher has no others")
        if not 0 < bank.scale <= 1 or (size * bank.scale) % multiple:
            raise ValueError(
                f"{field}: got {text!r}, expected a share of dataset.size, {size}, that is a multiple of {multiple} "
                "pixels"
            )
        banks.append(bank)
    return tuple(banks)
