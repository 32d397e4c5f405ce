"""Memory banks divided over several devices: each looks through its share of the rows."""

from typing import Any

import jax
import jax.numpy as jnp
from jax.sharding import Mesh

from gnl_jax.training.parallel import device_mesh, replicate, shard_leading_axis

PyTree = Any
ROWS = ("rows", "half_norms", "owners")  # of a bank: divided along their first axis


def bank_mesh(devices: int) -> Mesh | None:
    """A mesh over at most so many devices, as there are (0: all there are); None for one.

    A detector scores alike on any number of devices, so that one made for eight may be used where there are two.
    """
    count = min(devices or jax.device_count(), jax.device_count())
    return None if count == 1 else device_mesh(count)


def shard_banks(variables: PyTree, mesh: Mesh | None) -> PyTree:
    """Scoring variables with each bank's rows divided over a mesh, and all else on every device of it.

    Where the rows do not divide, rows are added that no patch is near to: their half norm is infinite. Variables
    without "banks", and those of one device, are returned as they are.
    """
    if mesh is None or "banks" not in variables:
        return variables
    placed = replicate(mesh, {name: value for name, value in variables.items() if name != "banks"})
    return {**placed, "banks": {name: _shard_bank(bank, mesh) for name, bank in variables["banks"].items()}}


def _shard_bank(bank: PyTree, mesh: Mesh) -> PyTree:
    added = -len(bank["rows"]) % mesh.size
    rows = {
        "rows": jnp.pad(bank["rows"], ((0, added), (0, 0))),
        "half_norms": jnp.pad(bank["half_norms"], (0, added), constant_values=jnp.inf),
        "owners": jnp.pad(bank["owners"], (0, added)),
    }
    others = {name: value for name, value in bank.items() if name not in ROWS}
    return {**replicate(mesh, others), **shard_leading_axis(mesh, rows)}
