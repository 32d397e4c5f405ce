"""GNL on 1,797 real handwritten digits that come with scikit-learn: small enough to train anywhere in a minute.

    python experiments/train.py --config=configs/digits.py:0 --workdir=runs/digits/gnl
    python experiments/train.py --config=configs/digits.py:0,matched_bank --workdir=runs/digits/matched_bank
    python experiments/evaluate.py --workdir=runs/digits/gnl,runs/digits/matched_bank --out=runs/digits

The argument is the digit that is normal (0 to 9), then the method. The teacher is ResNet-18 with the ImageNet weights
inside this package.
"""

from gnl_jax.config import default_config, parse_argument, set_method


def get_config(argument=None):
    config = default_config()
    config.dataset.normal, method = parse_argument(argument, normal="0")
    config.teacher.weights = "bundled"
    # What the paper does with MNIST: images not normalised, alpha 0.9.
    config.method.normalise = "none"
    config.eval.alpha = 0.9
    # Settings of other systems: those for MNIST.
    set_method(config, method, like="mnist")
    return config
