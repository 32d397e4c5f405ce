"""Every configuration field there is, with its meaning. Files in configs/ start from `default_config`."""

from ml_collections import ConfigDict

# What a method's name stands for: fields of the group `method`, and the matchings it is evaluated with.
# DINL is GNL's training, ATTA its test-time matching (Table 5).
METHODS = {
    "rd4ad": ({"views": ("clean",), "loss_ori": 1.0, "loss_abs": 0.0, "loss_lowf": 0.0}, ("none",)),
    "atta": ({"views": ("clean",), "loss_ori": 1.0, "loss_abs": 0.0, "loss_lowf": 0.0}, ("efdm",)),
    "dinl": ({}, ("none",)),
    "gnl": ({}, ("efdm",)),
}


def default_config() -> ConfigDict:
    """GNL on the embedded digits with a random teacher; all other configurations change some of these fields."""
    config = ConfigDict()
    config.seed = 0  # of initialisation, views, order of images, shifts and random anchors
    config.precision = "float32"  # "float32" | "tf32" | "bfloat16": products of convolutions; all else is float32

    dataset = config.dataset = ConfigDict()
    dataset.name = "digits"  # see gnl_jax.data.load.DATASETS
    dataset.normal = "0"  # the class, category or group that is normal
    dataset.size = 32  # side of the images in pixels, a multiple of 32
    dataset.root = ""  # folder of the data
    dataset.mnist_m = ""  # folder of MNIST-M as published
    dataset.shifts = ("photo", "brightness", "contrast", "defocus_blur", "gaussian_noise")  # test sets beside "id"
    dataset.severity = 3  # of the corruptions, 1 to 5
    dataset.limit_train = 0  # use at most so many images, drawn from the seed; 0: all
    dataset.limit_test = 0

    teacher = config.teacher = ConfigDict()
    teacher.arch = "resnet18"  # "resnet18" | "resnet50" | "wide_resnet50_2"
    teacher.weights = ""  # "imagenet" | "random" | a file; "": the environment variable GNL_JAX_TEACHER
    teacher.seed = 0  # of the random teacher

    method = config.method = ConfigDict()
    method.name = "gnl"  # how results are labelled; the fields below decide
    method.normalise = "imagenet"  # "imagenet" | "none": what follows the scaling to [0, 1]
    method.views = ("clean", "augmix", "grey")  # the first one is reconstructed
    method.loss_ori = 0.9  # lambda of Eq. 3
    method.loss_abs = 0.05
    method.loss_lowf = 0.05
    method.reduction = "sum"  # over the views of L_abs and L_lowf: "sum" (published code) | "mean" (Eq. 1 and 2)

    augmix = method.augmix = ConfigDict()
    augmix.operations = "pacs"  # "mvtec" (six) | "pacs" (those, contrast and brightness)
    augmix.severity = "published"  # "published" (0, 1, 2 or 3, drawn per image) | a number, as text
    augmix.width = 3  # chains
    augmix.depth = 0  # operations in a chain; 0: drawn from 1 to 3
    augmix.alpha = 1.0  # of the Dirichlet and Beta distributions of the mixing weights
    augmix.sticky_depth = True  # published code: the first chain's depth serves all chains

    train = config.train = ConfigDict()
    train.epochs = 20
    train.max_steps = 0  # stop after so many steps; 0: when the epochs are over
    train.batch_size = 16
    train.learning_rate = 0.005  # Adam, epsilon 1e-8
    train.beta1 = 0.5
    train.beta2 = 0.999
    train.steps_per_dispatch = 0  # optimiser steps per compiled call; 0: 1 on CPU, 10 elsewhere
    train.checkpoint_seconds = 120.0  # between checkpoints; one is always written at the end

    evaluation = config.eval = ConfigDict()
    evaluation.matching = ("efdm",)  # one or more of "none", "efdm", "mixstyle", "both": a row of results each
    evaluation.alpha = 0.5  # weight of the training style, Eq. 5
    evaluation.anchor = "first"  # "first" | "random" | "barycentre": whose style that is
    evaluation.anchors = 1  # how many random anchors
    evaluation.batch_size = 32
    return config


def set_method(config: ConfigDict, name: str) -> ConfigDict:
    """Makes `config` the named method (`METHODS`); ValueError lists the choices."""
    if name not in METHODS:
        raise ValueError(f"method: got {name!r}, expected one of {', '.join(METHODS)}")
    fields, matching = METHODS[name]
    config.method.update(name=name, **fields)
    config.eval.matching = matching
    return config


def parse_argument(argument: str | None, *, normal: str, method: str = "gnl") -> tuple[str, str]:
    """What follows the colon of `--config=FILE:ARGUMENT`, "[NORMAL][,METHOD]" -> (normal, method)."""
    given_normal, _, given_method = (argument or "").partition(",")
    return given_normal or normal, given_method or method
