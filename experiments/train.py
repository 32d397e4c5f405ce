"""Trains one configuration; the same command goes on where an interrupted one stopped.

python experiments/train.py --config=configs/digits.py:0 --workdir=runs/digits/gnl [--config.train.epochs=5 ...]
"""

from absl import app, flags, logging
from ml_collections import config_flags

from gnl_jax import console
from gnl_jax.training.loop import train

CONFIG = config_flags.DEFINE_config_file("config", None, "Configuration file, FILE.py[:ARGUMENT].", lock_config=True)
WORKDIR = flags.DEFINE_string("workdir", None, "Folder of the run; an unfinished run in it is continued.")


def main(argv):
    if len(argv) > 1:
        raise app.UsageError(f"unexpected arguments: {' '.join(argv[1:])}")
    logging.set_verbosity(logging.INFO)
    config = CONFIG.value
    if config.teacher.weights == "random":
        logging.info(
            "the teacher is random: fit for a demonstration and for tests. "
            "--config.teacher.weights=imagenet (or a file) uses trained weights"
        )
    console.run(lambda: print(f"trained {train(config, WORKDIR.value).steps} steps: {WORKDIR.value}"))


if __name__ == "__main__":
    flags.mark_flags_as_required(["config", "workdir"])
    app.run(main)
