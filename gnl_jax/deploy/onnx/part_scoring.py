"""From scores of windows to that of their part, as nodes: what was seen before goes in and comes out again."""

import numpy as np

from gnl_jax.deploy.onnx.graph import Graph
from gnl_jax.deploy.onnx.scoring import Scored


def part_so_far(g: Graph, windows: Scored) -> tuple[Scored, str]:
    """The part's score and drift after these windows, and what the next windows are to be given as "before".

    As in `detection.windowed.predict_windows`, the score is the largest of the windows' and drift their mean. A window
    whose score is not finite makes the part's score no number, whatever comes after it.

    The mean is carried rather than the sum, to which rounding adds up. Whether scores are finite is asked without
    "Abs": OpenVINO computes that in place, although the largest score is taken from the same values.

    Args:
        g: the graph; it gets the input "before", float32 [3]: highest score, mean drift, number of windows.
        windows: names of score [b], map [b s s] and drift [b] or None.

    Returns:
        Names of score [1], the windows' maps [b s s] and drift [1] or None; and of float32 [3].
    """
    before = g.input("before", "float32", 3)
    highest, mean, count = (g.add("Gather", before, g.ints(i), axis=0) for i in range(3))
    scores = g.add("Concat", highest, windows.score, axis=0)
    inside = g.add("And", g.add("Less", scores, np.float32(np.inf)), g.add("Greater", scores, np.float32(-np.inf)))
    finite = g.add("ReduceMin", g.add("Cast", inside, to="float32"), axes=[0], keepdims=1)
    whole = g.add("Greater", finite, 0.5)
    score = g.add("Where", whole, g.add("ReduceMax", scores, axes=[0], keepdims=1), np.float32(np.nan))
    count = g.add("Add", count, g.add("Cast", g.add("Shape", windows.score), to="float32"))
    drift = None
    if windows.drift is not None:
        farther = g.add("ReduceSum", g.add("Sub", windows.drift, mean), g.ints(0), keepdims=1)
        drift = mean = g.add("Add", mean, g.add("Div", farther, count))
    return Scored(score, windows.map, drift), g.add("Concat", score, mean, count, axis=0)
