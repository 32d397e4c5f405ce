"""PACS, learned from photographs, with the paper's settings: Wide ResNet-50-2 at 256x256, 20 epochs, alpha 0.5.

    python experiments/train.py --config=configs/pacs.py:dog,gnl --workdir=runs/pacs/dog/gnl \
        --config.teacher.weights=imagenet --config.dataset.root=PACS
    python experiments/evaluate.py --workdir=runs/pacs/dog/gnl

The argument is the normal class (dog, elephant, giraffe, guitar, horse, house or person), then the method. PACS is the
folder of the domains, with photo/dog/, or the one in which experiments/prepare.py prepared them. The released split is
unknown: here every tenth photograph of a class is test, and all images of the other domains are
(--config.dataset.ood=tenth: every tenth of them). Measured: see docs/results.md.
"""

from gnl_jax.config import default_config, parse_argument, set_method


def get_config(argument=None):
    config = default_config()
    config.dataset.name = "pacs"
    config.dataset.normal, method = parse_argument(argument, normal="dog")
    config.dataset.size = 256
    config.dataset.shifts = ("art_painting", "cartoon", "sketch")
    config.teacher.arch = "wide_resnet50_2"  # Paper: ResNet-50. Published code: this one.
    config.method.augmix.operations = "pacs"
    set_method(config, method, like="mvtec")
    return config
