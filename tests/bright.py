"""A detector without a network, for tests of what is around one: the score is the brightest pixel."""

import jax
import jax.numpy as jnp
import numpy as np

from gnl_jax.config import default_config, set_method
from gnl_jax.config_io import plain_config
from gnl_jax.detection.detector import Detector
from gnl_jax.detection.record import Calibration, Record, rule_record
from gnl_jax.detection.threshold import make_rule, make_rules, parse_rate
from gnl_jax.methods.base import Prediction

N = 99


@jax.jit
def brightness(variables, images):
    """Score: the brightest pixel; drift: the mean of all."""
    maps = images.astype(jnp.float32).mean(-1) / 255
    return Prediction(maps.max((1, 2)), maps, maps.mean((1, 2)) * variables["gain"])


def detector(batch_size=4, *, drift="0.01"):
    rules, _ = make_rules(N)
    calibration = Calibration(np.linspace(0, 0.5, N, dtype=np.float32), np.linspace(0, 0.25, N, dtype=np.float32))
    manifest = {
        "config": plain_config(set_method(default_config(), "gnl")),
        "matching": "none",
        "image": {"size": 32, "resize": 0, "filter": "bilinear", "white": 0.0, "alpha": "error"},
        "data": {"group_by": "", "fit": [], "calibration": [], "region": None},
        "made": {},
        "parent": None,
        "rules": {
            "ng": rule_record(rules.ng),
            "review": rule_record(rules.review),
            "drift": drift and rule_record(make_rule(parse_rate(drift), N)),
        },
    }
    record = Record(manifest, {"none": {}}, {"none": calibration})
    return Detector({"gain": jnp.float32(1)}, brightness, 32, batch_size, record)


def onnx_model(path):
    """The same detector, without drift, as a model: the score is the brightest pixel."""
    from gnl_jax.deploy.onnx.decision import EXACT, bounds, decide, p_value
    from gnl_jax.deploy.onnx.export import metadata, write_model
    from gnl_jax.deploy.onnx.graph import Graph
    from gnl_jax.deploy.onnx.pixels import as_planes
    from gnl_jax.deploy.onnx.scoremap import image_score
    from gnl_jax.deploy.onnx.serialise import serialise

    d, g = detector(drift=None), Graph()
    planes = as_planes(g, g.input("images", "uint8", "batch", 32, 32, 3))
    grey = g.add("Mul", g.add("ReduceMean", planes, axes=[1], keepdims=0), 1 / 255)
    score = image_score(g, grey)
    decision, reason = decide(g, score, None, bounds(d.record, EXACT))
    values = {"score": score, "p_value": p_value(g, score, d.record.calibration.score)}
    for name, value in values.items():
        g.output(value, name, "float32", "batch")
    g.output(grey, "map", "float32", "batch", 32, 32)
    g.output(decision, "decision", "int32", "batch")
    g.output(reason, "reason", "int32", "batch")
    about = metadata(d, band=EXACT, errors={}, input_size=None, target="onnxruntime", parent="")
    write_model(path, serialise(g, about), about)
    return d
