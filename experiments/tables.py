"""Prints a table of the paper from results, the paper's numbers beside ours.

python experiments/tables.py --table=3 --results=runs [--format=markdown|csv|latex] [--out=FILE] [--anchor=first]
python experiments/tables.py --table=7 [--arch=wide_resnet50_2 --size=256 --batch=16 --images=170]

--results: folders, searched for results.json, or files. Tables 1 to 6 and 8 to 11 are collected from them; Table 7 is
the speed of the device that this runs on, and is measured.
"""

import jax
from absl import app, flags

from experiments.speed.timing import PACS_DOG_IMAGES, Case, time_epochs
from gnl_jax import console
from gnl_jax.evaluation.collect import collect
from gnl_jax.files import write_atomic
from gnl_jax.paper.table_formats import FORMATS
from gnl_jax.paper.tables import TIMING, Table, build_table, time_table

TABLE = flags.DEFINE_integer("table", None, "1 to 11.", lower_bound=1, upper_bound=11)
RESULTS = flags.DEFINE_list("results", [], "Folders and results.json files, comma-separated.")
FORMAT = flags.DEFINE_enum("format", "markdown", list(FORMATS), "Of the output.")
OUT = flags.DEFINE_string("out", None, "File to write instead of printing.")
ANCHOR = flags.DEFINE_string("anchor", None, "Use results with this anchor of matching, where there are several.")
ARCH = flags.DEFINE_string("arch", "wide_resnet50_2", "Table 7: the networks.")
SIZE = flags.DEFINE_integer("size", 256, "Table 7: side of the images in pixels.")
BATCH = flags.DEFINE_integer("batch", 16, "Table 7: images in a training step.", lower_bound=2)
IMAGES = flags.DEFINE_integer("images", PACS_DOG_IMAGES, "Table 7: images in an epoch.", lower_bound=1)


def measured() -> Table:
    device = jax.devices()[0]
    seconds = time_epochs(Case(ARCH.value, SIZE.value, BATCH.value), images=IMAGES.value)
    words = (
        f"Ours: {device.device_kind} ({device.platform}, jax {jax.__version__}); {ARCH.value} at {SIZE.value} pixels; "
        f"an epoch of {IMAGES.value} images in batches of {BATCH.value}; inference one image at a time, for GNL with "
        "EFDM against stored references; reading of files is not part of it."
    )
    return time_table(seconds, notes=[words])


def run():
    if TABLE.value != TIMING and not RESULTS.value:
        raise ValueError("results: missing, expected folders or files with results, as in --results=runs")
    timed = TABLE.value == TIMING
    table = measured() if timed else build_table(TABLE.value, collect(*RESULTS.value), anchor=ANCHOR.value)
    text = FORMATS[FORMAT.value](table)
    if OUT.value:
        write_atomic(OUT.value, text)
        print(f"wrote {OUT.value}")
    else:
        print(text, end="")


if __name__ == "__main__":
    flags.mark_flag_as_required("table")
    app.run(lambda argv: console.run(run), flags_parser=console.parse_flags)
