"""A graph with DINOv2's blocks scores as its detector: attention, GELU, matching after a block, the top 1 %."""

import jax
import numpy as np
import onnxruntime
import pytest
from onnx_graphs import by_onnxruntime, by_openvino
from test_onnx_memory_bank import images
from tiny_dinov2 import ARCH, SIZES, TEACHER, tiny_dinov2
from untrained import config, untrained

from gnl_jax.deploy.onnx import transformer
from gnl_jax.deploy.onnx.model import make_graph
from gnl_jax.deploy.onnx.serialise import serialise
from gnl_jax.detection.artifact import use_matching
from gnl_jax.nn.transformer import Block, gelu

SIZE = 56


@pytest.fixture(scope="module")
def bank():
    """Tokens of the last block, matched after the first, with drift and a region."""
    options = config(method="matched_dinov2_bank", arch=ARCH, size=SIZE, batch_size=1)
    options.method.memory_bank.matched = (1,)
    region = np.ones((SIZE, SIZE), bool)
    region[:15] = False
    with jax.numpy_rank_promotion("allow"), tiny_dinov2():
        yield untrained(images(12, 0, size=SIZE), options, learn=3, region=region, rates=(1, 2, 1))


@pytest.mark.slow
@pytest.mark.parametrize(("matching", "tolerance"), [("efdm", 1e-3), ("none", 1e-5)])
def test_it_scores_and_decides_as_the_detector(matching, tolerance, bank):
    detector, seen = use_matching(bank, matching), images(3, 1, size=SIZE)
    with jax.numpy_rank_promotion("allow"):
        expected = detector(seen)
    session = onnxruntime.InferenceSession(serialise(make_graph(detector), {}), providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    got = dict(zip(names, session.run(names, {"images": seen}), strict=True))
    np.testing.assert_allclose(got["score"], expected.score, rtol=tolerance)
    np.testing.assert_allclose(got["map"], expected.map, atol=tolerance * np.abs(expected.map).max())
    np.testing.assert_allclose(got["drift"], expected.drift, rtol=tolerance)
    says = [["OK", "REVIEW", "NG"].index(d.decision) for d in detector.decide(expected)]
    np.testing.assert_array_equal(got["decision"], says)


@pytest.mark.parametrize("run", [by_onnxruntime, by_openvino])
def test_a_block_and_the_gelu_are_ours(run):
    block = TEACHER.init(jax.random.key(1))["params"]["encoder"]["layer_1"]
    x = np.random.default_rng(0).normal(size=(2, 9, SIZES.width)).astype(np.float32)
    if run is by_openvino:
        pytest.importorskip("openvino")
    found, smooth = run(
        lambda g, x: (transformer.block(g, x, block, heads=SIZES.heads), transformer.gelu(g, x)),
        [x],
        [("float32", 3)] * 2,
    )
    np.testing.assert_allclose(found, jax.jit(Block(SIZES.heads).apply)({"params": block}, x), rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(smooth, gelu(x), rtol=1e-5, atol=1e-6)


def test_blocks_that_nobody_needs_are_left_out():
    """Stage 1 of three, without drift: one block's attention and no final LayerNorm."""
    g = transformer.Graph()
    x, variables = g.input("x", "float32", "batch", 3, 28, 28), TEACHER.init(jax.random.key(0))
    seen = transformer.dinov2_stages(g, x, variables, TEACHER.module, side=28, wanted=(1,), hook=lambda k, stage: stage)
    assert list(seen) == [1]
    operators = [node.operator for node in g.nodes]
    assert (operators.count("Softmax"), operators.count("LayerNormalization")) == (1, 2)
