"""Small graphs, run by onnxruntime or OpenVINO."""

import numpy as np

from gnl_jax.deploy.onnx.graph import Graph
from gnl_jax.deploy.onnx.serialise import serialise


def built(build, inputs, outputs):
    """The bytes of a graph. `build(g, *names)` returns the outputs' values; outputs: dtype and rank of each."""
    g = Graph()
    names = [g.input(f"x{i}", str(x.dtype), "batch", *x.shape[1:]) for i, x in enumerate(inputs)]
    values = build(g, *names)
    values = values if isinstance(values, tuple) else (values,)
    for i, (value, (dtype, rank)) in enumerate(zip(values, outputs, strict=True)):
        g.output(value, f"y{i}", dtype, "batch", *(f"n{i}{k}" for k in range(1, rank)))
    return serialise(g, {})


def by_onnxruntime(build, inputs, outputs):
    """The outputs' arrays."""
    import onnxruntime

    data = built(build, inputs, outputs)
    session = onnxruntime.InferenceSession(data, providers=["CPUExecutionProvider"])
    return session.run(None, {f"x{i}": x for i, x in enumerate(inputs)})


def by_openvino(build, inputs, outputs):
    """As `by_onnxruntime`."""
    import openvino

    core = openvino.Core()
    model = core.compile_model(
        core.read_model(built(build, inputs, outputs), b""), "CPU", {"INFERENCE_PRECISION_HINT": "f32"}
    )
    results = model(list(inputs))
    return [np.array(results[i]) for i in range(len(outputs))]
