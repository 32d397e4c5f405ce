"""A graph as the bytes of an ONNX model."""

import json
from collections.abc import Mapping
from typing import Any

from gnl_jax.deploy.onnx.graph import Graph, Node, Tensor

OPSET = 17
IR_VERSION = 8  # the oldest that has this opset
MOST_BYTES = 2**31 - 2**20  # of constants: one protocol buffer holds 2 GiB
METADATA = "gnl_jax"  # the metadata entry, JSON


def serialise(g: Graph, metadata: Mapping[str, Any]) -> bytes:
    """The bytes of a model that onnx has checked; equal graphs and metadata give equal bytes.

    Raises:
        ValueError: more than one ONNX file holds.
    """
    from onnx import checker, helper, numpy_helper

    total = sum(array.nbytes for array in g.constants.values())
    if total > MOST_BYTES:
        raise ValueError(f"detector: its weights take {total} bytes, expected at most {MOST_BYTES} in one ONNX file")
    inputs, outputs = ([_value(*item) for item in some.items()] for some in (g.inputs, g.outputs))
    constants = [numpy_helper.from_array(array, name) for name, array in g.constants.items()]
    graph = helper.make_graph([_node(node) for node in g.nodes], "gnl_jax", inputs, outputs, constants)
    opset = helper.make_opsetid("", OPSET)
    model = helper.make_model(graph, opset_imports=[opset], ir_version=IR_VERSION, producer_name="gnl_jax")
    helper.set_model_props(model, {METADATA: json.dumps(metadata, sort_keys=True, allow_nan=False)})
    checker.check_model(model, full_check=True)
    return model.SerializeToString(deterministic=True)


def _node(node: Node):
    from onnx import helper

    attributes: dict[str, Any] = {k: _type(v) if k == "to" else v for k, v in node.attributes.items()}
    return helper.make_node(node.operator, node.inputs, node.outputs, name=node.outputs[0], **attributes)


def _value(name: str, tensor: Tensor):
    from onnx import helper

    return helper.make_tensor_value_info(name, _type(tensor.dtype), tensor.shape)


def _type(dtype: str) -> int:
    """A NumPy dtype's name as ONNX numbers it."""
    import numpy as np
    from onnx import helper

    return helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
