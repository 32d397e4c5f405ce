"""From scores of windows to that of their part, as nodes: what was seen before goes in and comes out again."""

import numpy as np

from gnl_jax.deploy.onnx.graph import Graph
from gnl_jax.deploy.onnx.scoring import Scored


def part_so_far(g: Graph, windows: Scored) -> tuple[Scored, str]:
    """The part's score and drift after these windows, and what the next windows are to be given as "before".

    As in `detection.windowed.predict_windows`, the score is the largest of the windows' and drift their mean. A window
    whose score is not finite makes the part's score no number, whatever comes after it.

    Args:
        g: the graph; it gets the input "before", float32 [3]: highest score, sum of drifts, number of windows.
        windows: names of score [b], map [b s s] and drift [b] or None.

    Returns:
        Names of score [1], the windows' maps [b s s] and drift [1] or None; and of float32 [3].
    """
    before = g.input("before", "float32", 3)
    highest, total, count = (g.add("Gather", before, g.ints(i), axis=0) for i in range(3))
    scores = g.add("Concat", highest, windows.score, axis=0)
    finite = g.add("Cast", g.add("Less", g.add("Abs", scores), np.float32(np.inf)), to="float32")
    whole = g.add("Greater", g.add("ReduceMin", finite, axes=[0], keepdims=1), 0.5)
    score = g.add("Where", whole, g.add("ReduceMax", scores, axes=[0], keepdims=1), np.float32(np.nan))
    count = g.add("Add", count, g.add("Cast", g.add("Shape", windows.score), to="float32"))
    drift = None
    if windows.drift is not None:
        total = g.add("Add", total, g.add("ReduceSum", windows.drift, g.ints(0), keepdims=1))
        drift = g.add("Div", total, count)
    return Scored(score, windows.map, drift), g.add("Concat", score, total, count, axis=0)
