"""Networks as functions of their variables, for callers that say what comes out."""

from typing import Any

from flax import linen as nn

PyTree = Any


def outputs(network: nn.Module, variables: PyTree, *inputs: Any, **options: Any) -> Any:
    """What `network.apply` returns where no variable changes: the outputs alone, in the network's own structure."""
    return network.apply(variables, *inputs, **options)
