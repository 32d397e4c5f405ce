"""MNIST -> MNIST-M with the paper's settings: ResNet-18 at 32x32, 5 epochs, alpha 0.9, images not normalised.

    python experiments/train.py --config=configs/mnist.py:0,gnl --workdir=runs/mnist/0/gnl \
        --config.teacher.weights=imagenet --config.dataset.root=DATA --config.dataset.mnist_m=DATA/mnist_m

The argument is the normal digit, or "even" or "odd" (multi-class), then the method. DATA/mnist/3.0.1 is MNIST as
tensorflow-datasets prepares it in the array_record format; DATA/mnist_m is MNIST-M as published.
"""

from gnl_jax.config import default_config, parse_argument, set_method


def get_config(argument=None):
    config = default_config()
    config.dataset.name = "mnist"
    config.dataset.normal, method = parse_argument(argument, normal="0")
    config.dataset.shifts = ("mnist_m",)
    config.method.normalise = "none"  # published code: ToTensor alone for MNIST
    config.method.augmix.operations = "pacs"
    config.train.epochs = 5
    config.eval.alpha = 0.9
    set_method(config, method, like="mnist")
    return config
