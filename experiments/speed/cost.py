"""Measures how time and memory of training grow with images and classes, and draws both; images are streamed.

python experiments/speed/cost.py --images=64,640,6400 --classes=1,10,100 --out=cost.png [--method=gnl --size=32]

Every number is measured in a process of its own, for its greatest memory; classes are runs of --class_images each, one
after the other. cost.json is written beside the picture.
"""

import json
import subprocess
import sys
from pathlib import Path

from absl import app, flags

from experiments.speed.cost_curves import Cost, cost_config, plot_cost, training_cost
from gnl_jax import console
from gnl_jax.files import write_atomic

IMAGES = flags.DEFINE_list("images", ["64", "640", "6400"], "Numbers of images, comma-separated.")
CLASSES = flags.DEFINE_list("classes", ["1", "10", "100"], "Numbers of classes, comma-separated.")
CLASS_IMAGES = flags.DEFINE_integer("class_images", 64, "Images of a class.")
METHOD = flags.DEFINE_string("method", "gnl", "As in the tables.")
SIZE = flags.DEFINE_integer("size", 32, "Side of the images in pixels.")
OUT = flags.DEFINE_string("out", "cost.png", "The picture.")
ONE = flags.DEFINE_list("one", None, "IMAGES,CLASSES: measure this in this process and print JSON.")


def measure(images: int, classes: int) -> Cost:
    same = [f"--method={METHOD.value}", f"--size={SIZE.value}", f"--one={images},{classes}"]
    done = subprocess.run([sys.executable, __file__, *same], check=True, stdout=subprocess.PIPE, text=True)
    cost = Cost(*json.loads(done.stdout.splitlines()[-1]))
    words = f"{images} images of {classes} classes: {cost.seconds:.1f} s, {cost.peak_bytes / 2**30:.2f} GiB"
    print(words, flush=True)
    return cost


def run():
    if ONE.value:
        images, classes = map(int, ONE.value)
        print(
            json.dumps(training_cost(cost_config(size=SIZE.value, method=METHOD.value), images=images, classes=classes))
        )
        return
    curves = {
        "images": [measure(int(n), 1) for n in IMAGES.value],
        "classes": [measure(CLASS_IMAGES.value, int(k))._replace(count=int(k)) for k in CLASSES.value],
    }
    plot_cost(OUT.value, curves)
    write_atomic(Path(OUT.value).with_suffix(".json"), json.dumps(curves, indent=1) + "\n")
    print(f"wrote {OUT.value} and {Path(OUT.value).with_suffix('.json')}")


if __name__ == "__main__":
    app.run(lambda argv: console.run(run), flags_parser=console.parse_flags)
