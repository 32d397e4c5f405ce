"""Prepares a benchmark data set, once, in the format that trainings read; mnist and cifar10 need the extra `prepare`.

python experiments/prepare.py --data_dir=DATA --dataset=mvtec_ad --source=EXTRACTED      (or mvtec_ad:bottle alone)
python experiments/prepare.py --data_dir=DATA --dataset=mvtec_loco --source=EXTRACTED    (mvtec_ad_2 and visa likewise)
python experiments/prepare.py --data_dir=DATA --dataset=pacs --source=DOMAINS
python experiments/prepare.py --data_dir=DATA --dataset=mnist_m:published --source=UNPACKED
python experiments/prepare.py --data_dir=DATA --dataset=mnist_m:synthetic --source=PHOTOGRAPHS   (after mnist)
python experiments/prepare.py --data_dir=DATA --dataset=mnist                  (or cifar10; these download)
"""

import importlib.util
import os

from absl import app, flags, logging

from gnl_jax import console

_NAMES = "mvtec_ad, mvtec_loco, mvtec_ad_2, visa, pacs, mnist_m, mnist or cifar10; NAME:CONFIG for one part."
DATASET = flags.DEFINE_string("dataset", None, _NAMES)
SOURCE = flags.DEFINE_string("source", None, "Folder of the published files; mnist and cifar10 need none.")
DATA_DIR = flags.DEFINE_string("data_dir", None, "Folder to prepare in; `config.dataset.root` of a training.")


def prepare(dataset: str, *, source: str | None, data_dir: str) -> list[str]:
    """Prepares a dataset, by default all categories of a benchmark and the published mnist_m, and returns the folders.

    Raises:
        ValueError: an unknown dataset or configuration, a missing source, or files that cannot be used.
    """
    import tensorflow_datasets as tfds

    from gnl_jax.data import builders

    tfds.disable_progress_bar()  # ours know how much is left
    ours = {build.name: build for build in builders.BUILDERS}
    name, _, part = dataset.partition(":")
    if name not in (*ours, "mnist", "cifar10"):
        raise ValueError(f"dataset: got {dataset!r}, expected one of {[*ours, 'mnist', 'cifar10']}")
    if name in ours and not (source and os.path.isdir(source) and os.listdir(source)):
        raise ValueError(f"source: nothing in {source!r}; for {name}: {ours[name].MANUAL_DOWNLOAD_INSTRUCTIONS}")
    if name not in ours and importlib.util.find_spec("tensorflow") is None:
        raise ValueError(f"dataset: {name} needs TensorFlow; install the extra `prepare`")
    build = ours.get(name) or tfds.builder_cls(name)
    parts = [config.name for config in build.BUILDER_CONFIGS]
    if part and part not in parts:
        raise ValueError(f"dataset: {name} has no {part!r}, expected one of {parts}")
    if name == "mnist_m" or not parts:
        parts = parts[:1] or [None]  # the parts of mnist_m have different sources
    folders = []
    for config in [part] if part else parts:
        builder = build(data_dir=data_dir, config=config, file_format="array_record")
        builder.download_and_prepare(download_config=tfds.download.DownloadConfig(manual_dir=source))
        counts = ", ".join(f"{split.num_examples} {key}" for key, split in builder.info.splits.items())
        print(f"{builder.data_dir}: {counts}")
        folders.append(str(builder.data_dir))
    return folders


def main(argv):
    if len(argv) > 1:
        raise app.UsageError(f"unexpected arguments: {' '.join(argv[1:])}")
    logging.set_verbosity(logging.INFO)
    console.run(lambda: prepare(DATASET.value, source=SOURCE.value, data_dir=DATA_DIR.value))


if __name__ == "__main__":
    flags.mark_flags_as_required(["dataset", "data_dir"])
    app.run(main)
