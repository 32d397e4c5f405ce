"""A detector's compiled program, and the variables that it was called with before."""

import operator
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import numpy as np

from gnl_jax.detection.awaited import awaited
from gnl_jax.methods.base import Prediction

PyTree = Any
Orders = dict[int, tuple[int, ...]]  # by the place of an argument: which of its axes comes first, second, ...


class Calling(NamedTuple):
    """What a compiled program returns, fields of `Prediction`, and the order of axes that it takes variables in."""

    outputs: tuple[str, ...]
    orders: Orders


def turned(array: np.ndarray | jax.Array, order: tuple[int, ...]) -> np.ndarray:
    """An array with its axes in an order, its values in that order in memory."""
    return np.ascontiguousarray(np.asarray(array).transpose(order))


class Program:
    """A function of (variables, images) that was compiled."""

    def __init__(self, calling: Calling, executable: Any):
        """How XLA's executable is called, and the executable."""
        self._calling, self._executable = calling, executable
        (self._device,) = executable.local_devices()

    def arguments(self, leaves: Sequence[np.ndarray | jax.Array]) -> list[jax.Array]:
        """Leaves of variables as it takes them."""
        orders = self._calling.orders
        return [self.here(turned(x, orders[i]) if i in orders else x) for i, x in enumerate(leaves)]

    def here(self, array: np.ndarray | jax.Array) -> jax.Array:
        """An array where this program takes it."""
        if isinstance(array, jax.Array) and array.devices() == {self._device}:
            return array
        return jax.device_put(array, self._device)

    def run(self, arguments: list[jax.Array], images: np.ndarray | jax.Array) -> Prediction[jax.Array]:
        """What it returns for variables, given as `arguments` has them."""
        arguments = [*arguments, self.here(images)]

        def start() -> list[jax.Array]:
            results = self._executable.execute_sharded(arguments).disassemble_into_single_device_arrays()
            return [shards[0] for shards in results]

        return Prediction(**{"score": None} | dict(zip(self._calling.outputs, awaited(start), strict=True)))

    def __call__(self, variables: PyTree, images: np.ndarray | jax.Array) -> Prediction[jax.Array]:
        """The same for variables that may be elsewhere."""
        return self.run(self.arguments(jax.tree.leaves(variables)), images)


class Bound(NamedTuple):
    """A program with variables: a detector's have hundreds of leaves, whose shapes take long to compare."""

    program: Program
    leaves: list[jax.Array]
    tree: Any
    shape: tuple[int, ...]
    dtype: np.dtype
    arguments: list[jax.Array]

    def takes(self, leaves: list[Any], tree: Any, images: np.ndarray | jax.Array) -> bool:
        """Whether these are the same arrays, and images of the same shape."""
        same = len(leaves) == len(self.leaves) and all(map(operator.is_, leaves, self.leaves)) and tree == self.tree
        return same and images.shape == self.shape and images.dtype == self.dtype
