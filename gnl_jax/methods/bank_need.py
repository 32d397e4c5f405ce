"""What making a memory bank takes of memory, from shapes alone."""

from typing import Any

import jax
import jax.numpy as jnp

from gnl_jax.methods.bank_candidates import bank_needs, bank_rows
from gnl_jax.methods.bank_drift import drift_images
from gnl_jax.methods.bank_memory import BankNeed
from gnl_jax.methods.bank_options import BankOptions
from gnl_jax.methods.bank_passes import pass_images
from gnl_jax.methods.bank_programs import Networks, patch_program, reference_program, stage_ranks
from gnl_jax.methods.program_memory import program_bytes, tree_bytes
from gnl_jax.methods.scoring import Scoring
from gnl_jax.overlap import AT_ONCE

PyTree = Any
_FLOAT = 4  # bytes of a float32


def bank_bytes(networks: Networks, *, images: int, size: int, options: BankOptions, scoring: Scoring) -> int:
    """What `make_banks`, and scoring with the banks it makes, hold at their peak beside images and teacher.

    Args:
        networks, options, scoring: as for `make_banks`.
        images: how many are learned from.
        size: their side in pixels.
    """
    batch = jax.ShapeDtypeStruct((pass_images(size, options), size, size, 3), jnp.uint8)
    matched = scoring.matching != "none"
    pixels = {"mean": jnp.zeros(3), "sigma": jnp.ones(())} if matched and options.pixels else None
    references = []
    if matched:
        program = reference_program(networks, pixels, options=options)
        references = jax.tree.map(_of_one, jax.eval_shape(program, networks.variables, batch))
    program = patch_program(networks, pixels, options=options, scoring=scoring)
    seen = jax.ShapeDtypeStruct(batch.shape, jnp.float32)
    passing, (embeddings, stages) = program_bytes(program, networks.variables, references, seen)
    looks = jax.eval_shape(stage_ranks, stages)
    needs = bank_needs(
        embeddings, images=images, rows=lambda i, total: bank_rows(total, rows=options.rows), options=options
    )
    ranks = min(images, drift_images(looks)) * tree_bytes(jax.tree.map(_of_one, looks))
    kept = sum(_bank_bytes(need) for need in needs) + 2 * tree_bytes(references)  # of the bank without matching too
    drawn = sum(_drawn_bytes(need, options) for need in needs)
    passing, copied = AT_ONCE * passing, AT_ONCE * tree_bytes(embeddings)  # to the host, as the images go by
    # The running sums of the references are float64.
    made = passing + max(drawn + ranks, 4 * tree_bytes(references)) + copied
    return kept + max(made, passing + max(_scored_bytes(need) for need in needs))


def _of_one(of_batch: jax.ShapeDtypeStruct) -> jax.ShapeDtypeStruct:
    return jax.ShapeDtypeStruct(of_batch.shape[1:], jnp.float32)


def _bank_bytes(need: BankNeed) -> int:
    """Rows of the matched bank and of the one without."""
    return 2 * _FLOAT * need.rows * need.channels


def _drawn_bytes(need: BankNeed, options: BankOptions) -> int:
    """Candidates, and for the k-centre choice their projection, on the host and on the device."""
    projected = 2 * (options.projection or need.channels) if options.coreset == "k_center" else 0
    return _FLOAT * need.candidates * (need.channels + projected)


def _scored_bytes(need: BankNeed) -> int:
    """The products of an image's patches with all rows, and what is compared with them."""
    return 2 * _FLOAT * need.patches * need.rows
