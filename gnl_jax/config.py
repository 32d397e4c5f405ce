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
    # Test sets beside "id": corruptions and other domains. Those of folders may say their severity, "contrast:5".
    dataset.shifts = ("photo", "brightness", "contrast", "defocus_blur", "gaussian_noise")
    dataset.severity = 3  # of the corruptions, 1 to 5
    dataset.limit_train = 0  # use at most so many images, drawn from the seed; 0: all
    dataset.limit_test = 0
    # Folders of images ("folder", "mvtec", "pacs"); docstrings of gnl_jax.data.folder.
    dataset.bad = ""  # "folder": a folder of anomalous images beside a root of normal ones
    dataset.ood = "all"  # "pacs": "all" images of the other domains are test, or every "tenth" of each class
    dataset.shifted = ()  # own shifted test sets, each "name=folder"
    dataset.corrupt_at = "native"  # "native": images are corrupted at their own size (published) | "resized"
    dataset.white = 0.0  # value that becomes 255 in images of more than 8 bits; 0: what the file's format says
    dataset.alpha = "error"  # transparent pixels: "error" | "drop" | the colour behind them, "R,G,B"
    dataset.skip_unreadable = False  # leave out files that cannot be used, with a warning
    dataset.cache = "default"  # of decoded images: "default" ($XDG_CACHE_HOME/gnl_jax) | a folder | "": none
    dataset.memory_mb = 4096.0  # training images that take more MiB are read again whenever they are needed

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
    train.feed = "auto"  # "device": images live on it | "stream": read while training | "auto": by their size
    train.device_budget_mb = 2048.0  # MiB of the device's memory that "auto" may fill with images
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
