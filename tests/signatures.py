"""Checks the signatures of functions on arrays while the tests run: dtypes and axes, as jaxtyping reads them.

The packages in `PACKAGES` are imported with every function wrapped. Outside of the tests nothing is.
"""

import contextlib
from collections.abc import Iterator

import beartype
import jaxtyping

PACKAGES = ("gnl_jax.ops", "gnl_jax.images", "gnl_jax.nn", "gnl_jax.methods")
# An int is a float where a float is expected, as for mypy.
check = beartype.beartype(conf=beartype.BeartypeConf(is_pep484_tower=True))


def use() -> None:
    """From now on; before gnl_jax is imported."""
    jaxtyping.install_import_hook(PACKAGES, "signatures.check")


@contextlib.contextmanager
def unchecked() -> Iterator[None]:
    """What a user gets of a wrong array: the function's own error."""
    jaxtyping.config.update("jaxtyping_disable", True)
    try:
        yield
    finally:
        jaxtyping.config.update("jaxtyping_disable", False)
