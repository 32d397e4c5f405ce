"""What runs an ONNX model here: onnxruntime, or OpenVINO where that is the target."""

from collections.abc import Callable

import numpy as np

OUTPUTS = {"score", "map", "p_value", "decision", "reason", "drift", "drift_p_value", "after"}
Run = Callable[..., dict[str, np.ndarray]]


def onnxruntime_run(data: bytes) -> Run:
    """A function from images, and other inputs by name, to outputs by name, by onnxruntime on the CPU, as it comes."""
    import onnxruntime

    session = onnxruntime.InferenceSession(data, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    return lambda images, **others: dict(zip(names, session.run(names, {"images": images, **others}), strict=True))


def openvino_run(data: bytes) -> Run:
    """As `onnxruntime_run`, by OpenVINO in float32: on some CPUs it would choose bfloat16 by itself."""
    import openvino

    core = openvino.Core()
    model = core.read_model(data, b"")
    # OpenVINO keeps the names of equal values beside an output's own.
    names = [next(iter(output.get_names() & OUTPUTS)) for output in model.outputs]
    compiled = core.compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})

    def run(images: np.ndarray, **others: np.ndarray) -> dict[str, np.ndarray]:
        results = compiled({"images": images, **others})
        return {name: np.array(results[i]) for i, name in enumerate(names)}

    return run


# A graph for TensorRT is run by onnxruntime here: it has no operator of its own.
RUNS = {"onnxruntime": onnxruntime_run, "openvino": openvino_run, "tensorrt": onnxruntime_run}


def in_batches(run: Run, images: np.ndarray, size: int) -> dict[str, np.ndarray]:
    """Outputs of images [n h w 3] in batches of exactly this size; the last one is filled up with the first images."""
    parts = []
    for start in range(0, len(images), size):
        rows = np.arange(start, start + size) % len(images)
        parts.append(run(images[rows]))
    return {name: np.concatenate([part[name] for part in parts])[: len(images)] for name in parts[0]}
