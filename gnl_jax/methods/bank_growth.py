"""More images for memory banks that are there, and fewer: what the banks were made with stays as it is."""

from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Bool

from gnl_jax.methods.bank_fit import draw_patches
from gnl_jax.methods.bank_options import BankOptions
from gnl_jax.methods.bank_programs import Networks
from gnl_jax.methods.bank_rows import projection
from gnl_jax.methods.base import parts_of
from gnl_jax.methods.scoring import Scoring
from gnl_jax.ops.coreset import k_center_beyond
from gnl_jax.ops.nearest import half_squared_norms

PyTree = Any


def add_to_banks(networks: Networks, variables: PyTree, images, *, options: BankOptions, scoring: Scoring) -> PyTree:
    """Banks with rows of more images: each grows by its own number of rows an image, rounded to the nearest.

    References, moments, principal components, the scales that several banks are added by, and drift stay those of the
    first images. The new rows are chosen as the options say: with "k_center" each is the farthest from the bank and the
    rows before it, in the same projection; with "random" they are drawn from the seed. The rows there were come first
    and stay.

    Args:
        networks: how images are seen; the same as when the banks were made.
        variables: what the memory bank scores with (`memory_bank.score_batch`).
        images: good images that are not in it, uint8 [n s s 3], or any source of them; its `parts` says which show the
            same part, and none of them shows a part of the images that are there.
        options, scoring: those that the banks were made with.

    Returns:
        {"banks", "parts"}.

    Raises:
        ValueError: no images; more candidates than memory holds.
    """
    if not len(images):
        raise ValueError("images: got none, expected one or more to learn from")
    banks, parts = variables["banks"], np.asarray(variables["parts"])
    sizes = [len(banks[str(i)]["rows"]) for i in range(len(options.sizes))]
    drawn, _ = draw_patches(
        networks,
        images,
        [banks[str(i)]["references"] for i in range(len(banks))] if scoring.matching != "none" else [],
        variables.get("pixels"),
        options=options,
        scoring=scoring,
        rows=lambda i, total: grown_rows(sizes[i], len(parts), len(images), total=total),
        first=len(parts),
    )
    grown = {
        str(i): _grown(banks[str(i)], candidates, owners + len(parts), rows=rows, options=options, scoring=scoring)
        for i, (candidates, owners, rows) in enumerate(drawn)
    }
    new_parts = np.unique(parts_of(images), return_inverse=True)[1] + parts.max() + 1
    return {"banks": grown, "parts": jnp.asarray(np.concatenate([parts, new_parts]).astype(np.int32))}


def grown_rows(rows: int, images: int, more: int, *, total: int) -> int:
    """Rows for `more` images of `total` patches, as many an image as a bank of `rows` has of `images`; at least one."""
    return min(max(1, (2 * rows * more + images) // (2 * images)), total)


def _grown(
    bank: PyTree, candidates: np.ndarray, owners: np.ndarray, *, rows: int, options: BankOptions, scoring: Scoring
) -> PyTree:
    """A bank and `rows` of the candidates, in their order."""
    if "components" in bank:
        candidates = (candidates - np.asarray(bank["centre"])) @ np.asarray(bank["components"])
    chosen = np.arange(len(candidates))
    if options.coreset == "k_center" and rows < len(candidates):
        reduced = projection(candidates.shape[1], options.projection, seed=scoring.seed)
        known = np.asarray(bank["rows"]) @ reduced
        chosen = np.sort(np.asarray(k_center_beyond(jnp.asarray(candidates @ reduced), jnp.asarray(known), k=rows)))
    new = jnp.asarray(candidates[chosen], bank["rows"].dtype)
    return bank | {
        "rows": jnp.concatenate([bank["rows"], new]),
        "half_norms": jnp.concatenate([bank["half_norms"], half_squared_norms(new)]),
        "owners": jnp.concatenate([bank["owners"], jnp.asarray(owners[chosen], jnp.int32)]),
    }


def drop_from_banks(variables: PyTree, gone: Bool[np.ndarray, "n"]) -> PyTree:
    """Banks without the rows of some images; nothing else changes.

    Args:
        variables: what the memory bank scores with.
        gone: for each image whether it is to be left out.

    Returns:
        {"banks", "parts"}.

    Raises:
        ValueError: a bank without a row would be left.
    """
    place = np.cumsum(~gone) - 1

    def dropped(bank: PyTree) -> PyTree:
        owners = np.asarray(bank["owners"])
        kept = np.flatnonzero(~gone[owners])
        if not len(kept):
            raise ValueError("images: got all that the bank's rows are of, expected some that stay")
        rows = {name: bank[name][kept] for name in ("rows", "half_norms")}
        return bank | rows | {"owners": jnp.asarray(place[owners[kept]], jnp.int32)}

    parts = np.unique(np.asarray(variables["parts"])[~gone], return_inverse=True)[1]
    return {
        "banks": {name: dropped(bank) for name, bank in variables["banks"].items()},
        "parts": jnp.asarray(parts.astype(np.int32)),
    }


def shaped_by_fit(variables: PyTree) -> tuple[str, ...]:
    """What of a memory bank comes from the images of its fit as a whole, so that none of them can be taken back."""
    banks = variables["banks"].values()
    found = {
        "the reference of matching": "pixels" in variables or any("references" in bank for bank in banks),
        "the principal components": any("components" in bank for bank in banks),
        "the scales of its banks": len(banks) > 1,
    }
    return tuple(name for name, there in found.items() if there)
