"""The measurements of `measure.py` in words: a row of shares and rates, a line of where the time goes."""

from collections.abc import Sequence
from typing import Any

HEADER = (
    "case", "precision", "features", "compile s", "step s", "train img/s", "% products", "% memory", "score img/s",
    "EFDM img/s", "% products", "% memory", "GFLOP/s", "GB/s", "peak GiB", "device",
)  # fmt: skip


def speed_row(t: dict[str, Any]) -> str:
    """A Markdown row under `HEADER` of what `timing.time_case` measured, and what was asked of it."""
    batch, rates = int(t["case"].split("/")[2]), (t["matmul_rate"], t["memory_rate"])
    scored = t["score_batch"] or batch
    shares = []
    for kind, seconds in (("step", "step"), ("score", "efdm")):
        used = (t[f"{kind}_flop"] / t[f"{kind}_seconds"], t[f"{kind}_bytes"] / t[f"{seconds}_seconds"])
        shares.append([f"{u / rate:.0%}" for u, rate in zip(used, rates)])
    images = [f"{n / t[f'{kind}_seconds']:.1f}" for n, kind in ((batch, "step"), (scored, "score"), (scored, "efdm"))]
    cells = [
        t["case"], t["precision"], t["features"], f"{t['compile_seconds']:.1f}", f"{t['step_seconds']:.3f}", images[0],
        *shares[0], *images[1:], *shares[1], *(f"{rate / 1e9:.0f}" for rate in rates),
        f"{t['peak_bytes'] / 2**30:.2f}", t["device"],
    ]  # fmt: skip
    return markdown_row(cells)


def speed_scopes(t: dict[str, Any]) -> str:
    """Shares of the time by named scope, those below half a per cent left out."""
    parts = []
    for kind, scopes in (("training", t["step_scopes"]), ("scoring with EFDM", t["score_scopes"])):
        total = sum(scopes.values())
        parts.append(f"{kind}: " + ", ".join(f"{k} {v / total:.0%}" for k, v in scopes.items() if v > 0.005 * total))
    return "; ".join(parts)


def markdown_row(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cells) + " |"
