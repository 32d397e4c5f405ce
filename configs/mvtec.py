"""MVTec AD and its corruptions with the paper's settings: Wide ResNet-50-2 at 256x256, 20 epochs, alpha 0.5.

    python experiments/train.py --config=configs/mvtec.py:bottle,gnl --workdir=runs/mvtec/bottle/gnl \
        --config.teacher.weights=imagenet --config.dataset.root=MVTEC
    python experiments/evaluate.py --workdir=runs/mvtec/bottle/gnl

The argument is the category, then the method. MVTEC is the folder of the extracted archive, with bottle/train/good/, or
the one in which experiments/prepare.py prepared it; the masks give pixel AUROC and AUPRO too.
--config.dataset.shifts="('contrast:1','contrast:5')" tests other severities. Measured: see docs/results.md.
"""

from gnl_jax.config import default_config, parse_argument, set_method


def get_config(argument=None):
    config = default_config()
    config.dataset.name = "mvtec"
    config.dataset.normal, method = parse_argument(argument, normal="bottle")
    config.dataset.size = 256
    config.dataset.shifts = ("brightness", "contrast", "defocus_blur", "gaussian_noise")
    config.dataset.severity = 3
    config.teacher.arch = "wide_resnet50_2"  # Paper: ResNet-50. Published code: this one.
    config.method.augmix.operations = "mvtec"  # without the corruptions that are tested
    set_method(config, method, like="mvtec")
    return config
