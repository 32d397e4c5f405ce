"""JAX calls `initialize` of each module in a folder jax_plugins on the path before it compiles anything."""

import compiled_programs


def initialize() -> None:
    compiled_programs.use()
