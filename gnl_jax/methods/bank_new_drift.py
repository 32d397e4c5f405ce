"""A drift reference of other images for memory banks that are there: a new condition, for which the banks stay."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from gnl_jax.methods.bank_drift import DRIFT_IMAGES, drift_entry, drift_images
from gnl_jax.methods.bank_options import BankOptions
from gnl_jax.methods.bank_passes import in_chunks
from gnl_jax.methods.bank_programs import Networks, stage_ranks
from gnl_jax.methods.memory_bank import at_side, matched_stages, network_input
from gnl_jax.methods.scoring import Scoring

PyTree = Any


def bank_drift(networks: Networks, variables: PyTree, images, *, options: BankOptions, scoring: Scoring) -> PyTree:
    """The entry "drift" of `memory_bank.score_batch`'s variables, from n >= 2 good images.

    Args:
        networks: how images are seen; the same as when the banks were made.
        variables: what the memory bank scores with; images are matched to its references and pixels, as in scoring.
        images: uint8 [n s s 3], or any source of them; of more than `drift_images` so many are drawn from the seed.
        options, scoring: those that the banks were made with.

    Raises:
        ValueError: fewer than two images, whose spread does not exist.
    """
    if len(images) < 2:
        raise ValueError(f"images: got {len(images)}, expected at least 2 to measure drift")

    @jax.jit
    def stages_of(variables, batch):
        x = network_input(batch, variables.get("pixels"), preprocess=networks.preprocess, dtype=networks.dtype)
        stages = matched_stages(
            networks.teacher,
            variables["teacher"],
            at_side(x, options.sizes[0].side(batch.shape[1])),
            matching=scoring.matching,
            options=options,
            references=variables["references"],
            alpha=variables.get("alpha", 0.0),
        )
        return {str(k): stages.before[k - 1] for k in options.drift}

    def ranks_of(variables, batch):
        return stage_ranks(stages_of(variables, batch))

    seen = {name: variables[name] for name in ("teacher", "pixels", "alpha") if name in variables}
    seen["references"] = variables["banks"]["0"].get("references", {})
    sample = jax.ShapeDtypeStruct((1, *images[np.zeros(1, np.int64)].shape[1:]), jnp.uint8)
    most = min(DRIFT_IMAGES, drift_images(jax.eval_shape(ranks_of, seen, sample)))
    chosen = np.sort(np.random.default_rng([scoring.seed, 4]).permutation(len(images))[:most])
    found = [
        jax.tree.map(lambda ranks: np.asarray(ranks)[:count], ranks_of(seen, batch))  # noqa: B023
        for batch, count in in_chunks(images, chosen, options, "drift")
    ]
    return drift_entry(jax.tree.map(lambda *parts: np.concatenate(parts), *found))
