"""The program that draws AUROC, false alarms and defects caught against alpha."""

import json
import subprocess
import sys

import programs
import pytest
from PIL import Image

from experiments.result_rows import read_curves

FOLDERS = [
    {
        "alpha": alpha,
        "rows": [
            {"matching": "efdm", "condition": "id", "auroc": 90.0 + alpha, "flagged": 5.0, "caught": 50.0},
            {"matching": "none", "condition": "id", "auroc": 70.0, "flagged": 1.0, "caught": 10.0},
            {"matching": "efdm", "condition": "dusk", "auroc": 80.0 + alpha, "flagged": 9.0, "caught": 40.0},
        ],
    }
    for alpha in (0.5, 0.0)
]
EVALUATIONS = {
    "rows": [
        {
            "matching": {"alpha": alpha},
            "auroc": {"id": 0.9, "ood": {"mnist_m": 0.6}},
            "metrics": {"false_alarm_0.05": {"id": 0.05, "mnist_m": 0.5}},
        }
        for alpha in (0.25, 1.0)
    ]
}


def written(tmp_path):
    for i, result in enumerate(FOLDERS):
        (tmp_path / f"tiles_{i}.json").write_text(json.dumps(result))
    (tmp_path / "rd4ad.json").write_text(json.dumps(EVALUATIONS))


def test_files_of_both_kinds_are_read(tmp_path):
    written(tmp_path)
    found = read_curves(str(tmp_path / "tiles"))
    assert found["auroc"] == {"id": {0.5: 90.5, 0.0: 90.0}, "dusk": {0.5: 80.5, 0.0: 80.0}}
    assert found["caught"]["dusk"] == {0.5: 40.0, 0.0: 40.0}
    found = read_curves(str(tmp_path / "rd"))
    assert found["auroc"] == {"id": {0.25: 90.0, 1.0: 90.0}, "mnist_m": {0.25: 60.0, 1.0: 60.0}}
    assert found["flagged"]["mnist_m"] == {0.25: 50.0, 1.0: 50.0}
    assert not found["caught"]
    with pytest.raises(ValueError, match="expected the beginning of the names of"):
        read_curves(str(tmp_path / "other"))


def test_the_picture_has_a_row_for_each(tmp_path):
    written(tmp_path)
    program = str(programs.ROOT / "experiments/alpha_curves.py")
    arguments = [f"--out={tmp_path / 'alpha.png'}", f"tiles={tmp_path / 'tiles'}", f"digit={tmp_path / 'rd4ad'}"]
    subprocess.run([sys.executable, program, *arguments], check=True, env=programs.environment())
    with Image.open(tmp_path / "alpha.png") as picture:
        assert picture.height > 0.4 * picture.width
