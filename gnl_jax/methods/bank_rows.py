"""The rows of one bank: drawn from candidate patches, and how far good patches are from those of other parts."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Float32, Int32

from gnl_jax.methods.bank_options import BankOptions
from gnl_jax.ops.coreset import k_center
from gnl_jax.ops.nearest import DISTANCES, half_squared_norms, nearest

PyTree = Any
SCALE_PATCHES = 4096  # candidates that a bank's location and scale are estimated from
LEAST_SCALE = 1e-6


def make_bank(
    candidates: Float32[np.ndarray, "m c"],
    owners: Int32[np.ndarray, "m"],
    parts: Int32[np.ndarray, "n"],
    *,
    rows: int,
    options: BankOptions,
    seed: int,
) -> PyTree:
    """A bank from its candidates: reduced, chosen, and with the scale of its distances."""
    bank: dict[str, Any] = {}
    if options.components:
        bank |= _principal(candidates, options.components)
        candidates = (candidates - np.asarray(bank["centre"])) @ np.asarray(bank["components"])
    chosen = np.arange(len(candidates))
    if options.coreset == "k_center" and rows < len(candidates):
        points = candidates @ projection(candidates.shape[1], options.projection, seed=seed)
        start = np.random.default_rng([seed, 6]).integers(len(candidates))
        chosen = np.sort(np.asarray(k_center(jnp.asarray(points), k=rows, start=start)))
    kept = jnp.asarray(candidates[chosen])
    bank |= {"rows": kept, "half_norms": half_squared_norms(kept), "owners": jnp.asarray(owners[chosen])}
    asked = np.random.default_rng([seed, 7]).permutation(len(candidates))[:SCALE_PATCHES]
    distances = _distances_to_others(candidates[asked], parts[owners[asked]], bank, parts)
    distances = np.asarray(DISTANCES[options.distance].of_euclidean(jnp.asarray(distances)))
    distances = distances[np.isfinite(distances)]  # none where all rows are of one part
    if not len(distances):
        return bank | {"location": jnp.float32(0), "scale": jnp.float32(1)}
    scale = max(float(distances.std()), LEAST_SCALE)
    return bank | {"location": jnp.float32(distances.mean()), "scale": jnp.float32(scale)}


def _distances_to_others(candidates: np.ndarray, of: np.ndarray, bank: PyTree, parts: np.ndarray) -> np.ndarray:
    """Euclidean distances of patches [m c] to the nearest row of another part; infinite where there is none."""
    row_parts, block = jnp.asarray(parts)[bank["owners"]], min(512, len(candidates))

    @jax.jit
    def measured(queries, of, rows, half_norms, row_parts):
        def one(pair):
            query, part = pair
            norms = jnp.where(row_parts == part, jnp.inf, half_norms)
            distance, row = nearest(query[None], rows, norms)
            return jnp.where(row_parts[row[0]] == part, jnp.inf, distance[0])

        return lax.map(one, (queries, of), batch_size=block)

    # The rows are arguments: as constants they would be worked on while the program is compiled.
    return np.asarray(measured(jnp.asarray(candidates), jnp.asarray(of), bank["rows"], bank["half_norms"], row_parts))


def _principal(candidates: np.ndarray, components: int) -> PyTree:
    """{"centre": [c], "components": [c k]}, the k principal axes of the candidates."""
    if components > candidates.shape[1]:
        raise ValueError(
            f"method.memory_bank.components: got {components}, expected at most {candidates.shape[1]}, the channels"
        )
    centre = candidates.mean(0, dtype=np.float64)
    covariance = np.cov(candidates.astype(np.float64), rowvar=False)
    axes = np.linalg.eigh(covariance)[1][:, ::-1][:, :components]
    return {"centre": jnp.asarray(centre, jnp.float32), "components": jnp.asarray(axes, jnp.float32)}


def projection(channels: int, dimensions: int, *, seed: int) -> Float32[np.ndarray, "{channels} d"]:
    """A seeded sparse random projection to so many dimensions; the identity where it would not reduce."""
    if not 0 < dimensions < channels:
        return np.eye(channels, dtype=np.float32)
    from sklearn.random_projection import SparseRandomProjection

    fitted = SparseRandomProjection(n_components=dimensions, random_state=seed).fit(np.zeros((1, channels)))
    return fitted.components_.toarray().T.astype(np.float32)
