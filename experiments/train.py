"""Trains one configuration; the same command goes on where an interrupted one stopped.

python experiments/train.py --config=configs/digits.py:0 --workdir=runs/digits/gnl [--config.train.epochs=5 ...]

--config.train.devices=0 divides every batch over all devices. Several hosts run the same command, on a folder that all
see, with --config.train.devices=0 and --distributed=HOST:PORT,COUNT,INDEX (or auto, where the cluster tells).
"""

from absl import app, flags
from ml_collections import config_flags

from gnl_jax import console
from gnl_jax.training.loop import train
from gnl_jax.training.parallel import join

CONFIG = config_flags.DEFINE_config_file("config", None, "Configuration file, FILE.py[:ARGUMENT].", lock_config=True)
WORKDIR = flags.DEFINE_string("workdir", None, "Folder of the run; an unfinished run in it is continued.")
DISTRIBUTED = flags.DEFINE_string("distributed", None, "HOST:PORT,COUNT,INDEX of this process among several, or auto.")


def run():
    if DISTRIBUTED.value:
        join(DISTRIBUTED.value)
    print(f"trained {train(CONFIG.value, WORKDIR.value).steps} steps: {WORKDIR.value}")


def main(argv):
    if len(argv) > 1:
        raise app.UsageError(f"unexpected arguments: {' '.join(argv[1:])}")
    console.run(run)


if __name__ == "__main__":
    flags.mark_flags_as_required(["config", "workdir"])
    app.run(main, flags_parser=console.parse_flags)
