"""GNL on 1,797 real handwritten digits that come with scikit-learn: small enough to train anywhere in a minute.

    python experiments/train.py --config=configs/digits.py:0 --workdir=runs/digits/gnl
    python experiments/train.py --config=configs/digits.py:0,rd4ad --workdir=runs/digits/rd4ad
    python experiments/evaluate.py --workdir=runs/digits/rd4ad,runs/digits/gnl --out=runs/digits

The argument is the digit that is normal (0 to 9), then the method. The teacher is random, so that nothing has to be
downloaded; its features are poor, and so is the robustness it can give. --config.teacher.weights=imagenet uses the
published weights.
"""

from gnl_jax.config import default_config, parse_argument, set_method


def get_config(argument=None):
    config = default_config()
    config.dataset.normal, method = parse_argument(argument, normal="0")
    config.teacher.weights = "random"
    # What the paper does with MNIST: images not normalised, alpha 0.9.
    config.method.normalise = "none"
    config.eval.alpha = 0.9
    # Settings of other systems: those for MNIST.
    set_method(config, method, like="mnist")
    return config
