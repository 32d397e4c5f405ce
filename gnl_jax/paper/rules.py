"""Which rows of results.json make which line of a table, and their means over classes and seeds.

A line of the paper's tables is a training and a matching at test: ATTA is RD4AD's weights with matching, DINL is GNL's
without.
"""

import statistics
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from gnl_jax.config import METHODS
from gnl_jax.data import cifar10, digits

Row = Mapping[str, Any]
CLASSES = {
    "mnist": digits.CLASSES,
    "cifar10": cifar10.CLASSES,
    "pacs": ("dog", "elephant", "giraffe", "guitar", "horse", "house", "person"),
    "mvtec": (
        *("bottle", "cable", "capsule", "carpet", "grid", "hazelnut", "leather", "metal_nut"),
        *("pill", "screw", "tile", "toothbrush", "transistor", "wood", "zipper"),
    ),
}
ALPHA = {"mnist": 0.9, "cifar10": 0.5, "pacs": 0.5, "mvtec": 0.5}  # Section 5.3
SAME = 1e-4  # AUROC that differ by less, a hundredth of a percent, are one result computed twice


class RowRule(NamedTuple):
    """Names of trainings (`METHODS`), the preferred one first, and the matching at test: "none" or "efdm"."""

    methods: tuple[str, ...]
    matching: str


RULES = {name: RowRule((name,), "none") for name in METHODS} | {
    "rd4ad": RowRule(("rd4ad", "atta"), "none"),
    "atta": RowRule(("rd4ad", "atta"), "efdm"),
    "dinl": RowRule(("gnl", "dinl"), "none"),
    "gnl": RowRule(("gnl", "dinl"), "efdm"),
    "matched_bank": RowRule(("matched_bank",), "efdm"),
    "two_size_bank": RowRule(("two_size_bank",), "efdm"),
    "augmented_bank": RowRule(("augmented_bank",), "efdm"),
    "image_bank": RowRule(("image_bank",), "efdm"),
    "image_bank_unmatched": RowRule(("image_bank",), "none"),
    "bank_and_student": RowRule(("bank_and_student",), "efdm"),
    "matched_dinov2_bank": RowRule(("matched_dinov2_bank",), "efdm"),
}
# Keys of `RULES` that the paper does not have, to their labels: lines of their own below those of its comparisons.
NOT_IN_PAPER = {
    "patchcore": "PatchCore (not in the paper)",
    "matched_bank": "Matched bank (not in the paper)",
    "two_size_bank": "Bank of two sizes (not in the paper)",
    "augmented_bank": "Augmented bank (not in the paper)",
    "image_bank_unmatched": "Image bank, not matched (not in the paper)",
    "image_bank": "Image bank (not in the paper)",
    "bank_and_student": "Matched bank and student (not in the paper)",
    "dinov2_bank": "DINOv2 bank (not in the paper)",
    "matched_dinov2_bank": "DINOv2 bank, matched (not in the paper)",
    "dinov2_image_bank": "DINOv2 image bank (not in the paper)",
}


class Mean(NamedTuple):
    """A mean over classes, then over seeds.

    Attributes:
        value: a fraction, or seconds.
        deviation: standard deviation over seeds, None with one.
        seeds: that were averaged.
        classes: that every one of these seeds has.
        left_out: seeds that have fewer or other classes, and were not averaged.
    """

    value: float
    deviation: float | None
    seeds: tuple[int, ...]
    classes: tuple[str, ...]
    left_out: tuple[int, ...] = ()


def select(
    rows: Iterable[Row], name: str, *, dataset: str, alpha: float | None = None, anchor: str | None = None
) -> list[Row]:
    """The rows of a line of a table, a key of `RULES`, on one dataset.

    alpha: of matching, by default the paper's; anchor: "first", "random" or "barycentre", by default as it comes.
    """
    if name not in RULES:
        raise ValueError(f"method: got {name!r}, expected one of {', '.join(RULES)}")
    rule = RULES[name]
    alpha = ALPHA.get(dataset) if alpha is None else alpha

    def fits(row: Row) -> bool:
        matching = row["matching"]
        if (row["dataset"], matching["kind"]) != (dataset, rule.matching) or row["method"] not in rule.methods:
            return False
        if rule.matching == "none":
            return True
        return (alpha is None or abs(matching["alpha"] - alpha) < 1e-9) and anchor in (None, matching["anchor"])

    return sorted(filter(fits, rows), key=lambda row: rule.methods.index(row["method"]))


def values_on(rows: Sequence[Row], test: str) -> dict[tuple[int, str], float]:
    """(seed, normal class) to the AUROC on a test set, from rows of `select`.

    Rows of the preferred training count. Raises ValueError where two of them have different results.
    """
    found: dict[tuple[int, str], tuple[float, Row]] = {}
    for row in rows:
        value = row["auroc"]["id"] if test == "id" else row["auroc"]["ood"].get(test)
        if value is None:
            continue
        known, first = found.setdefault((row["seed"], row["normal"]), (value, row))
        if first["method"] == row["method"] and abs(known - value) > SAME:
            raise ValueError(
                f"results: {row['method']} on {row['dataset']}, normal class {row['normal']}, seed {row['seed']}, test "
                f"set {test!r}: got both {_words(first, known)} and {_words(row, value)}, expected one result; "
                "name fewer results, or one anchor"
            )
    return {key: value for key, (value, _) in found.items()}


def mean_of(values: Mapping[tuple[int, str], float], classes: Sequence[str]) -> Mean | None:
    """The mean over those of `classes` that (seed, normal class) to value has, per seed, then over seeds.

    Only seeds with the same classes can be averaged: those with the most classes are. None where no class has a value.
    """
    seeds: dict[int, dict[str, float]] = {}
    for (seed, normal), value in sorted(values.items()):
        if normal in classes:
            seeds.setdefault(seed, {})[normal] = value
    if not seeds:
        return None
    groups: dict[frozenset[str], list[int]] = {}
    for seed, found in seeds.items():
        groups.setdefault(frozenset(found), []).append(seed)
    covered, chosen = max(groups.items(), key=lambda group: (len(group[0]), len(group[1])))
    per_seed = [statistics.fmean(seeds[seed].values()) for seed in chosen]
    return Mean(
        value=statistics.fmean(per_seed),
        deviation=statistics.stdev(per_seed) if len(per_seed) > 1 else None,
        seeds=tuple(chosen),
        classes=tuple(name for name in classes if name in covered),
        left_out=tuple(seed for seed in seeds if seed not in chosen),
    )


def _words(row: Row, value: float) -> str:
    matching = {name: setting for name, setting in row["matching"].items() if setting is not None}
    return f"{value:.4f} ({matching}, {row['steps']} steps, {row['teacher']}, config {row['config_sha'][:8]})"
