"""CIFAR-10 and its corruptions with the paper's settings: 20 epochs, severity 5, alpha 0.5.

    python experiments/train.py --config=configs/cifar10.py:airplane,gnl --workdir=runs/cifar10/airplane/gnl \
        --config.teacher.weights=imagenet --config.dataset.root=DATA
    python experiments/evaluate.py --workdir=runs/cifar10/airplane/gnl

The argument is the normal class (airplane, automobile, bird, cat, deer, dog, frog, horse, ship or truck), then the
method. DATA/cifar10/3.0.2 is CIFAR-10 as tensorflow-datasets prepares it in the array_record format. Measured: see
docs/results.md.
"""

from gnl_jax.config import default_config, parse_argument, set_method


def get_config(argument=None):
    config = default_config()
    config.dataset.name = "cifar10"
    config.dataset.normal, method = parse_argument(argument, normal="airplane")
    config.dataset.shifts = ("brightness", "contrast", "defocus_blur", "gaussian_noise")
    config.dataset.severity = 5
    # Paper: names no network for CIFAR-10. ResNet-18 at the images' own size is our choice.
    config.teacher.arch = "resnet18"
    config.method.augmix.operations = "mvtec"  # without the corruptions that are tested
    set_method(config, method, like="cifar10")
    return config
