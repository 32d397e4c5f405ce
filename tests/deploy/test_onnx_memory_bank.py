"""A memory bank's graph scores and decides as its detector."""

import jax
import numpy as np
import onnxruntime
import pytest
from untrained import config, untrained

from gnl_jax.deploy.onnx.model import make_graph
from gnl_jax.deploy.onnx.serialise import serialise
from gnl_jax.detection.artifact import use_matching
from gnl_jax.images.resize import resize

pytestmark = pytest.mark.slow

SIZE = 64


def images(n, seed, *, size=SIZE):
    """Coloured cells, made smooth: uint8 [n s s 3]."""
    cells = np.random.default_rng(seed).integers(60, 196, (n, 8, 8, 3)).astype(np.uint8)
    return np.stack([resize(one, size) for one in cells])


@pytest.fixture(scope="module", params=[("maps", "mean"), ("scores", "range")])
def bank(request):
    """Two sizes, reduced, pixels and three stages matched, with drift and a region; scored one by one."""
    options = config(method="matched_bank", size=SIZE, batch_size=1)
    # Not stage 3 of the half alone: of its 2x2 features, matched all the way, each 3x3 mean is the same.
    options.method.memory_bank.sizes = ("1:2+3", "1/2:2")
    options.method.memory_bank.joined, options.method.memory_bank.pixel_target = request.param
    options.method.memory_bank.matched = (1, 2, 3)
    options.method.memory_bank.rows = 50.0
    options.method.memory_bank.components = 12
    region = np.ones((SIZE, SIZE), bool)
    region[:7] = False
    with jax.numpy_rank_promotion("allow"):
        return untrained(images(24, 0), options, learn=5, region=region)


@pytest.mark.parametrize(("matching", "tolerance"), [("efdm", 1e-3), ("none", 1e-5)])
def test_two_banks_with_all_they_may_have(matching, tolerance, bank):
    detector = use_matching(bank, matching)
    if matching == "efdm" and detector.require_record().config.method.memory_bank.pixel_target == "range":
        tolerance = 5e-3  # scores are smaller there, and two features that swap their ranks move one by up to 4e-3
    seen = images(4, 1)
    with jax.numpy_rank_promotion("allow"):
        expected = detector(seen)
    data = serialise(make_graph(detector), {})
    session = onnxruntime.InferenceSession(data, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    got = dict(zip(names, session.run(names, {"images": seen}), strict=True))
    scale = np.abs(expected.map).max()
    # Standardised scores may be near zero: the largest one is the measure.
    np.testing.assert_allclose(got["score"], expected.score, atol=tolerance * np.abs(expected.score).max())
    np.testing.assert_allclose(got["map"], expected.map, atol=tolerance * scale)
    np.testing.assert_allclose(got["drift"], expected.drift, rtol=tolerance)
    says = [(["OK", "REVIEW", "NG"].index(d.decision), d.p_value) for d in detector.decide(expected)]
    np.testing.assert_array_equal(got["decision"], [decision for decision, _ in says])
    np.testing.assert_allclose(got["p_value"], [p for _, p in says], rtol=1e-6)
