"""A model whose convolutions compute with whole numbers of 8 bits: ranges from images that were learned from."""

import contextlib
import logging
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from gnl_jax.deploy.onnx.graph import Graph, Node

LEAST_IMAGES, MOST_IMAGES = 4, 32  # that the ranges of activations are taken from
_PLACED = ("Conv", "Relu", "MaxPool")  # a convolution, and what is done to its result before the next one reads it


def quantised_nodes(g: Graph) -> list[str]:
    """Names of the nodes that are computed in 8 bits: convolutions, and what only passes their results on.

    The sum of two branches, and the ReLU after it, stay float32: these are the stages, whose values are matched by
    their rank and compared with a bank. 256 levels would make ties of most of them.
    """
    made_by = {name: node for node in g.nodes for name in node.outputs}
    names = set()
    for node in g.nodes:  # in the order in which they are computed
        if node.operator == "Conv" or (node.operator in _PLACED and _source(made_by, node) in names):
            names.add(node.outputs[0])
    return sorted(names)


def _source(made_by: dict[str, Node], node: Node) -> str:
    found = made_by.get(node.inputs[0])
    return found.outputs[0] if found else ""


def quantise(model: bytes, images: np.ndarray, *, nodes: list[str]) -> bytes:
    """The model with these nodes in 8 bits: activations uint8 with one scale each, weights int8 with one per channel.

    Weights take 7 of their 8 bits, so that processors without 8-bit dot products, whose sums of 16 bits would overflow
    otherwise, compute the same numbers as those that have them.

    Args:
        model: bytes of a float32 model; its metadata are kept.
        images: uint8 [n h w 3] as the model takes them: smallest and largest activations are theirs.
        nodes: names, of `quantised_nodes`.
    """
    import onnx
    from onnxruntime.quantization import CalibrationMethod, QuantFormat, QuantType, quantize_static

    with tempfile.TemporaryDirectory(prefix="gnl_jax_int8_") as folder, _without_advice():
        before, after = Path(folder) / "float.onnx", Path(folder) / "int8.onnx"
        before.write_bytes(model)
        quantize_static(
            os.fspath(before),
            os.fspath(after),
            _Reader(images),
            quant_format=QuantFormat.QDQ,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            per_channel=True,
            reduce_range=True,
            op_types_to_quantize=list(_PLACED),
            nodes_to_quantize=nodes,
            calibrate_method=CalibrationMethod.MinMax,
        )
        quantised = onnx.load(os.fspath(after))
    quantised.producer_name = "gnl_jax"
    onnx.checker.check_model(quantised, full_check=True)
    return quantised.SerializeToString(deterministic=True)


@contextlib.contextmanager
def _without_advice() -> Iterator[None]:
    """onnxruntime warns on the root logger that shapes could be inferred first, which changes nothing here."""

    def other(record: logging.LogRecord) -> bool:
        return "pre-processing" not in record.getMessage()

    logging.getLogger().addFilter(other)
    try:
        yield
    finally:
        logging.getLogger().removeFilter(other)


class _Reader:
    """Gives onnxruntime one image after the other."""

    def __init__(self, images: np.ndarray):
        self._feeds: Iterator[dict[str, np.ndarray]] = ({"images": image[None]} for image in images)

    def get_next(self) -> dict[str, np.ndarray] | None:
        return next(self._feeds, None)
