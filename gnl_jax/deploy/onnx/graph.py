"""An ONNX graph in the making: nodes and constants as plain values, in the order they are added."""

import hashlib
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike


class Node(NamedTuple):
    """One operator: its name in ONNX's default domain, the names of what it reads and writes, its attributes."""

    operator: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: dict[str, Any]


class Tensor(NamedTuple):
    """What goes in or comes out: a NumPy dtype's name and the shape, a free axis by its name."""

    dtype: str
    shape: tuple[int | str, ...]


class Graph:
    """Collects nodes and constants; every step's function is given one, adds its nodes and returns the result's name.

    Attributes:
        nodes: each reads only inputs, constants and what nodes before it wrote.
        constants: arrays by name; equal arrays are kept once.
        inputs, outputs: by name, in the order they were declared.
    """

    def __init__(self):
        self.nodes: list[Node] = []
        self.constants: dict[str, np.ndarray] = {}
        self.inputs: dict[str, Tensor] = {}
        self.outputs: dict[str, Tensor] = {}
        self._known: dict[tuple, str] = {}

    def constant(self, value: ArrayLike, dtype=np.float32) -> str:
        """The name of a constant with this value."""
        array = np.ascontiguousarray(np.asarray(value, dtype))
        key = (array.dtype.str, np.shape(value), hashlib.sha256(array.data).digest())
        if key not in self._known:
            name = self._known[key] = f"constant_{len(self.constants)}"
            self.constants[name] = array.reshape(np.shape(value))
        return self._known[key]

    def ints(self, *values: int) -> str:
        """The name of a constant int64 [n], as shapes and axes are given."""
        return self.constant(values, np.int64)

    def many(self, operator: str, *inputs: "str | ArrayLike", outputs: int, **attributes) -> tuple[str, ...]:
        """Adds a node with several results and returns their names; an input that is no name is a float32 constant."""
        named = tuple(x if isinstance(x, str) else self.constant(x) for x in inputs)
        results = tuple(f"{operator}_{len(self.nodes)}" + (f"_{i}" if i else "") for i in range(outputs))
        self.nodes.append(Node(operator, named, results, attributes))
        return results

    def add(self, operator: str, *inputs: "str | ArrayLike", **attributes) -> str:
        """Adds a node with one result and returns its name."""
        return self.many(operator, *inputs, outputs=1, **attributes)[0]

    def input(self, name: str, dtype: str, *shape: int | str) -> str:
        """Declares an input and returns its name."""
        self.inputs[name] = Tensor(dtype, shape)
        return name

    def output(self, value: str, name: str, dtype: str, *shape: int | str) -> None:
        """Declares a value to be an output with a name of its own."""
        self.nodes.append(Node("Identity", (value,), (name,), {}))
        self.outputs[name] = Tensor(dtype, shape)
