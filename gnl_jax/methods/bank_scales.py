"""What several banks' image scores are brought to one scale by: those of the bank's own images, as if each were new."""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from gnl_jax.methods.bank_options import BankOptions
from gnl_jax.methods.bank_passes import in_chunks
from gnl_jax.methods.bank_programs import Networks
from gnl_jax.methods.bank_rows import LEAST_SCALE
from gnl_jax.methods.memory_bank import score_batch
from gnl_jax.methods.scoring import Scoring

PyTree = Any
SCORED_IMAGES = 64  # at most: their mean and deviation are known to an eighth of the deviation


def scored_scales(
    networks: Networks, variables: PyTree, images, *, options: BankOptions, scoring: Scoring
) -> list[dict[str, jax.Array]]:
    """For each bank {"location", "scale"}: mean and standard deviation of its image scores of good images.

    Each image is scored without the rows of its own part. Where all rows are of one part nothing is left: 0 and 1.

    Args:
        networks, options, scoring: as for `make_banks`.
        variables: {"banks", "parts"} and, with a matching, "alpha" and "pixels", of these images.
        images: good images, uint8 [n s s 3], or any source of them; `SCORED_IMAGES` of them are drawn from the seed.
    """
    parts, found = np.asarray(variables["parts"]), []
    chosen = np.sort(np.random.default_rng([scoring.seed, 8]).permutation(len(images))[:SCORED_IMAGES])
    how = {"teacher": networks.teacher, "preprocess": networks.preprocess, "dtype": networks.dtype}
    for i, spec in enumerate(options.sizes):
        bank = variables["banks"][str(i)]
        if len(np.unique(parts[np.asarray(bank["owners"])])) < 2:
            found.append({"location": jnp.float32(0), "scale": jnp.float32(1)})
            continue
        alone = variables | {"teacher": networks.variables, "banks": {"0": bank}}
        one = options._replace(sizes=(spec,))
        program = jax.jit(functools.partial(score_batch, options=one, matching=scoring.matching, **how))
        scores, own = [], parts[chosen]
        for batch, count in in_chunks(images, chosen, options, f"scale {i + 1} of {len(options.sizes)}"):
            without, own = np.resize(own[:count], len(batch)), own[count:]
            scores.append(np.asarray(program(alone, batch, without).score)[:count])
        scale = max(float(np.concatenate(scores).std()), LEAST_SCALE)
        found.append({"location": jnp.float32(np.concatenate(scores).mean()), "scale": jnp.float32(scale)})
    return found
