"""A detector's compiled program, and the variables that it was called with before."""

import operator
from typing import Any, NamedTuple

import jax
import numpy as np

from gnl_jax.detection.awaited import awaited
from gnl_jax.methods.base import Prediction

PyTree = Any


class Program:
    """A function of (variables, images) that was compiled."""

    def __init__(self, outputs: tuple[str, ...], executable: Any):
        """The names of what XLA's executable returns, fields of `Prediction`, and the executable."""
        self._outputs, self._executable = outputs, executable
        (self._device,) = executable.local_devices()

    def here(self, array: np.ndarray | jax.Array) -> jax.Array:
        """An array where this program takes it."""
        if isinstance(array, jax.Array) and array.devices() == {self._device}:
            return array
        return jax.device_put(array, self._device)

    def run(self, arguments: list[jax.Array], images: np.ndarray | jax.Array) -> Prediction[jax.Array]:
        """What it returns for variables, whose leaves are `here`."""
        arguments = [*arguments, self.here(images)]

        def start() -> list[jax.Array]:
            results = self._executable.execute_sharded(arguments).disassemble_into_single_device_arrays()
            return [shards[0] for shards in results]

        return Prediction(**{"score": None} | dict(zip(self._outputs, awaited(start), strict=True)))

    def __call__(self, variables: PyTree, images: np.ndarray | jax.Array) -> Prediction[jax.Array]:
        """The same for variables that may be elsewhere."""
        return self.run([self.here(leaf) for leaf in jax.tree.leaves(variables)], images)


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
