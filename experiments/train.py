"""Trains one configuration; the same command goes on where an interrupted one stopped.

python experiments/train.py --config=configs/digits.py:0 --workdir=runs/digits/gnl [--config.train.epochs=5 ...]
"""

from absl import app, flags
from ml_collections import config_flags

from gnl_jax import console
from gnl_jax.training.loop import train

CONFIG = config_flags.DEFINE_config_file("config", None, "Configuration file, FILE.py[:ARGUMENT].", lock_config=True)
WORKDIR = flags.DEFINE_string("workdir", None, "Folder of the run; an unfinished run in it is continued.")


def main(argv):
    if len(argv) > 1:
        raise app.UsageError(f"unexpected arguments: {' '.join(argv[1:])}")
    console.run(lambda: print(f"trained {train(CONFIG.value, WORKDIR.value).steps} steps: {WORKDIR.value}"))


if __name__ == "__main__":
    flags.mark_flags_as_required(["config", "workdir"])
    app.run(main, flags_parser=console.parse_flags)
