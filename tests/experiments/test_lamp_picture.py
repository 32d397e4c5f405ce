"""experiments/lamp_picture.py: which images it shows, and what it refuses. `make demo` draws with detectors."""

import numpy as np
import programs
import pytest
from PIL import Image


@pytest.mark.slow
def test_the_image_in_the_middle_of_each_folder_good_first(tmp_path):
    for kind, levels in (("dent", (10, 20, 30)), ("good", (100, 120))):
        for i, level in enumerate(levels):
            path = tmp_path / "test" / kind / f"{i}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.new("RGB", (60, 40), (level,) * 3).save(path)
    out = tmp_path / "p.png"
    done = programs.run_quickly("lamp_picture", f"--row=seen=:{tmp_path}/test", f"--out={out}")
    assert (done.returncode, done.stdout) == (0, f"wrote {out}\n")
    picture = np.asarray(Image.open(out))
    assert picture.shape == (40 + 20, 2 * 60 + 20, 3)  # a line of text above, one at the left
    assert picture[-20, 50].tolist() == [120] * 3
    assert picture[-20, 110].tolist() == [20] * 3


def test_a_row_without_a_folder_is_refused(tmp_path):
    done = programs.run_quickly("lamp_picture", "--row=seen=part.gnl", f"--out={tmp_path}/p.png")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == "error: row: got 'seen=part.gnl', expected NAME=DETECTOR:FOLDER\n"
