"""Curves of a memory bank: every point of a small run."""

import json
import subprocess
import sys

import numpy as np
import programs
import pytest
from PIL import Image

SIZE = 128


def picture(seed):
    """Cells with noise, uint8 [128 128 3]."""
    rng = np.random.default_rng(seed)
    cells = np.random.default_rng(9).integers(60, 190, (8, 8, 3)).repeat(SIZE // 8, 0).repeat(SIZE // 8, 1)
    return (cells + rng.integers(-15, 16, cells.shape)).astype(np.uint8)


@pytest.mark.slow
@pytest.mark.parametrize(("curve", "points"), [("rows", 4), ("alpha", 2), ("sizes", 3), ("pixels", 3)])
def test_every_point(tmp_path, curve, points):
    (tmp_path / "good").mkdir()
    for i in range(16):
        Image.fromarray(picture(i)).save(tmp_path / "good" / f"{i}.png")
    arguments = ("--counts=8,4,4", "--size=64", "--rows=20,60", "--components=0,12", "--alphas=0,0.5", "--defects=6")
    out = tmp_path / "curves.json"
    subprocess.run(
        [
            *(sys.executable, str(programs.ROOT / "experiments/speed/bank_curves.py"), f"--good={tmp_path / 'good'}"),
            *(f"--out={out}", f"--curve={curve}", *arguments),
        ],
        check=True,
        env=programs.environment(),
    )
    found = json.loads(out.read_text())
    assert len(found) == points
    assert all(0 <= row["auroc"] <= 1 and row["ms"] > 0 and len(row["moves"]) == 4 for row in found)
    settings = [tuple(row.get(name) for name in (curve, "rows", "components", "alpha")) for row in found]
    assert len(set(settings)) == points
