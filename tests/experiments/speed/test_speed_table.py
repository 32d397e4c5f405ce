"""The table of experiments/speed/measure.py: rates and shares from what was measured, by hand."""

from experiments.speed.speed_table import HEADER, speed_row, speed_scopes
from experiments.speed.timing import Timing

MEASURED = Timing(
    compile_seconds=2.0,
    step_seconds=0.5,
    step_flop=1e9,
    score_seconds=0.25,
    efdm_seconds=0.4,
    score_flop=0.5e9,
    step_bytes=2e9,
    score_bytes=1e9,
    matmul_rate=8e9,
    memory_rate=10e9,
    peak_bytes=2**30,
    step_scopes={"decoder": 0.3, "views": 0.1, "losses": 0.001},
    score_scopes={"teacher": 0.2},
)
ASKED = {"case": "resnet18/32/16", "precision": "float32", "features": "cached", "score_batch": 0}
ROW = ASKED | MEASURED._asdict() | {"device": "cpu"}


def test_a_row():
    cells = dict(zip(HEADER, speed_row(ROW).strip("| ").split(" | "), strict=True))  # of equal names the last one
    assert cells["step s"] == "0.500"
    assert cells["train img/s"] == "32.0"
    assert cells["score img/s"] == "64.0"
    assert cells["EFDM img/s"] == "40.0"
    assert cells["% products"] == "25%"  # 0.5 GFLOP in 0.25 s of 8 GFLOP/s
    assert cells["% memory"] == "25%"  # 1 GB in 0.4 s of 10 GB/s
    assert speed_row(ROW).split(" | ")[6:8] == ["25%", "40%"]  # training: 1 GFLOP and 2 GB in 0.5 s
    assert cells["peak GiB"] == "1.00"


def test_more_images_scored_at_once_than_trained_on():
    cells = dict(zip(HEADER, speed_row(ROW | {"score_batch": 64}).strip("| ").split(" | "), strict=True))
    assert [cells[f"{kind} img/s"] for kind in ("train", "score", "EFDM")] == ["32.0", "256.0", "160.0"]


def test_where_the_time_goes():
    assert speed_scopes(ROW) == "training: decoder 75%, views 25%; scoring with EFDM: teacher 100%"
