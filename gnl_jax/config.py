"""Every configuration field there is, with its meaning. Files in configs/ start from `default_config`."""

import functools
from typing import Any

from ml_collections import ConfigDict

from gnl_jax.named_methods import METHODS, SETTINGS


def default_config() -> ConfigDict:
    """GNL on the embedded digits; all other configurations change some of these fields."""
    config = ConfigDict()
    config.seed = 0  # of initialisation, views, order of images, shifts and random anchors
    config.precision = "float32"  # "float32" | "tf32" | "bfloat16": products of convolutions; all else is float32

    dataset = config.dataset = ConfigDict()
    dataset.name = "digits"  # see gnl_jax.data.load.DATASETS
    dataset.normal = "0"  # the class, category or group that is normal
    dataset.size = 32  # side of the images in pixels
    dataset.resize = 0  # images are resized to this side and their centre of `size` cut out; 0: resized to `size`
    dataset.filter = "bilinear"  # of the resize: "bilinear" | "lanczos"
    dataset.root = ""  # folder of the data
    dataset.mnist_m = ""  # folder of MNIST-M as published
    # Test sets beside "id": corruptions and other domains. Those of folders may say their severity, "contrast:5".
    dataset.shifts = ("photo", "brightness", "contrast", "defocus_blur", "gaussian_noise")
    dataset.severity = 3  # of the corruptions, 1 to 5
    dataset.limit_train = 0  # use at most this number of images, drawn from the seed; 0: all
    dataset.limit_test = 0  # the same of each test set
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
    # "resnet18" | "resnet50" | "wide_resnet50_2"; for KDAD "vgg16"; for memory banks also "dinov2_vits14",
    # "dinov2_vitb14" and "dinov2_vitl14", each also with "_reg".
    teacher.arch = "resnet18"
    # "bundled" | "imagenet" | "pretrained" (DINOv2's) | "random" | a file; "": GNL_JAX_TEACHER, else "bundled"
    teacher.weights = ""
    teacher.seed = 0  # of the random teacher

    method = config.method = ConfigDict()
    method.name = "gnl"  # how results are labelled; the fields below decide
    method.system = "reverse_distillation"  # or "memory_bank", "bank_and_student", "kdad", "deep_svdd", "f_anogan"
    method.normalise = "imagenet"  # "imagenet" | "none": what follows the scaling to [0, 1]
    method.views = ("clean", "augmix", "grey")  # the first one is reconstructed
    method.loss_ori = 0.9  # lambda of Eq. 3
    method.loss_abs = 0.05  # weight of L_abs, the embeddings' distance to the other views (Eq. 1)
    method.loss_lowf = 0.05  # weight of L_lowf, the same of the decoder's first stage (Eq. 2)
    method.reduction = "sum"  # over the views of L_abs and L_lowf: "sum" (published code) | "mean" (Eq. 1 and 2)

    augmix = method.augmix = ConfigDict()
    augmix.operations = "pacs"  # "mvtec" (six) | "pacs" (those, contrast and brightness)
    augmix.geometric = False  # also rotate, shear and translate, as the baseline of that name does
    augmix.severity = "published"  # "published" (0, 1, 2 or 3, drawn per image) | a number, as text
    augmix.width = 3  # chains
    augmix.depth = 0  # operations in a chain; 0: drawn from 1 to 3
    augmix.alpha = 1.0  # of the Dirichlet and Beta distributions of the mixing weights
    augmix.sticky_depth = True  # published code: the first chain's depth serves all chains

    mixing = method.mixing = ConfigDict()  # of the teacher's features between the images of a training batch
    mixing.kind = "none"  # "none" | "mixstyle" | "efdm"
    mixing.probability = 0.5  # that a batch is mixed, for stages 1 and 2 each
    mixing.alpha = 0.1  # of the Beta distribution of the mixing weights
    mixing.targets = "mixed"  # what the student reconstructs: "mixed" features | "clean" ones

    jigsaw = method.jigsaw = ConfigDict()
    jigsaw.weight = 0.0  # of the loss for recognising how an image's tiles were shuffled; 0: no tiles are shuffled
    jigsaw.permutations = 30  # orders of the nine tiles, beside the right one
    jigsaw.identity = 0.9  # probability that an image is left in order
    jigsaw.reconstruct = "all"  # images whose features are reconstructed: "all" | "ordered" ones only

    memory_bank = method.memory_bank = ConfigDict()
    memory_bank.sizes = ("1:2+3",)  # a bank each: the share of the images' side, and the teacher's stages, or "last"
    memory_bank.joined = "maps"  # of several banks: "maps", added place by place | "scores", their largest values
    memory_bank.pixels = False  # with a matching: also match each image's mean brightness and contrast, before all else
    memory_bank.pixel_target = "mean"  # to those of the good images: their "mean" | the nearest within their "range"
    memory_bank.matched = (1, 2)  # stages that are matched, for the bank's images and the test image alike
    memory_bank.last_alpha = 1.0  # weight of the bank's style at the last stage, if matched; else `eval.alpha`
    memory_bank.rows = 4000.0  # patches in a bank; below 1: the share of all patches
    memory_bank.coreset = "random"  # how they are drawn: "random" | "k_center"
    memory_bank.candidates = 100_000  # patches that a coreset is drawn from, themselves drawn at random
    memory_bank.projection = 128  # dimensions that k-centre distances are measured in; 0: all
    memory_bank.views = ()  # further views of each good image whose patches may be drawn, such as "augmix"
    # A row is a patch, "patches" (averaged over 3x3) | "tokens" (of one grid, as they are); or a whole image, which has
    # no score map: "pooled" | "flattened" | "class" (the class token).
    memory_bank.embedding = "patches"
    memory_bank.distance = "euclidean"  # "euclidean" | "unit" (of features of length 1) | "cosine"
    memory_bank.components = 0  # principal components that are kept; 0: the features as they are
    # "map": the largest value of the map | "patches": PatchCore's re-weighted score | "top": mean of the top 1 %.
    memory_bank.score = "map"
    memory_bank.neighbours = 9  # of that re-weighting
    memory_bank.batch_size = 0  # images that pass the teacher at once while a bank is made; 0: 4 of 256x256, or as many
    # pixels of another size

    kdad = method.kdad = ConfigDict()
    kdad.mse_weight = 0.01  # lambda: weight of the squared distance beside the cosine distance

    deep_svdd = method.deep_svdd = ConfigDict()
    deep_svdd.network = "mnist"  # "mnist" (28x28, grey) | "cifar10" (32x32, colour): the two published LeNets
    deep_svdd.weight_decay = 0.5e-6  # added to the gradient
    deep_svdd.milestone = 50  # from this epoch on the learning rate is a tenth
    deep_svdd.pretrain_epochs = 150  # of the autoencoder
    deep_svdd.pretrain_milestone = 50  # as `milestone`, of the autoencoder
    deep_svdd.pretrain_weight_decay = 0.5e-3  # as `weight_decay`, of the autoencoder

    f_anogan = method.f_anogan = ConfigDict()
    f_anogan.network = "dense"  # "dense" (28x28, grey) | "convolutional" (colour)
    f_anogan.encoder_epochs = 200  # of the encoder, after the generator's `train.epochs`
    f_anogan.critic_steps = 5  # of the critic for each of the generator
    f_anogan.gradient_penalty = 10.0  # weight of the critic's
    f_anogan.feature_weight = 1.0  # kappa: of the critic's features in the encoder's loss and in the score
    f_anogan.flip = False  # mirror training images at random
    f_anogan.batch_norm_epsilon = "published"  # "published" (0.8, meant as a momentum) | "torch" (1e-5)

    train = config.train = ConfigDict()
    train.epochs = 20  # passes over the training images
    train.max_steps = 0  # stop after this number of steps; 0: when the epochs are over
    train.batch_size = 16  # images in a step
    train.learning_rate = 0.005  # Adam, epsilon 1e-8
    train.beta1 = 0.5  # of Adam
    train.beta2 = 0.999  # of Adam
    train.steps_per_dispatch = 0  # optimiser steps per compiled call; 0: 1 on CPU, 10 elsewhere
    train.feed = "auto"  # "device": images live on it | "stream": read while training | "auto": by their size
    train.device_budget_mb = 2048.0  # MiB of the device's memory that "auto" may fill with images
    train.feature_budget_mb = (
        0.0  # MiB that the teacher's features of views that never change may take; 0: none are kept
    )
    train.devices = 1  # that share each batch, or a bank's rows; 0: all there are, as several processes need
    train.remat = False  # compute the student's blocks again for their gradients instead of keeping what they saw
    train.checkpoint_seconds = 120.0  # between checkpoints; one is always written at the end

    evaluation = config.eval = ConfigDict()
    evaluation.matching = ("efdm",)  # one or more of "none", "efdm", "mixstyle", "both": a row of results each
    evaluation.alpha = 0.5  # weight of the training style, Eq. 5
    evaluation.anchor = "first"  # "first" | "random" | "barycentre": whose style that is
    evaluation.anchors = 1  # how many random anchors
    evaluation.batch_size = 32  # images that are scored at once
    return config


def set_method(config: ConfigDict, name: str, *, like: str = "mnist") -> ConfigDict:
    """Makes `config` the named method (`METHODS`), with its settings for data `like` "mnist", "cifar10" or "mvtec".

    Whatever method it was before: the fields of `config.method` that tell methods apart are those of this one, and what
    the name before set there, or of `train.max_steps`, is taken back.

    Raises ValueError that lists the choices.
    """
    if name not in METHODS:
        raise ValueError(f"method: got {name!r}, expected one of {', '.join(METHODS)}")
    fields, matching = METHODS[name]
    named: dict[str, Any] = {"method.name": name} | {f"method.{field}": value for field, value in fields.items()}
    named = _unnamed(config) | named | SETTINGS.get((name, like), {}) | {"eval.matching": matching}
    config.update_from_flattened_dict(named)
    return config


def _unnamed(config: ConfigDict) -> dict[str, Any]:
    """The fields that tell methods apart, as they are without a name: those of `METHODS` and of each system's group.

    Other settings of the name before too, where they are still as it set them: else the data or the user did.
    """
    named = {f"method.{field}" for fields, _ in METHODS.values() for field in fields}
    named |= {field for fields in SETTINGS.values() for field in fields if field.count(".") == 2}
    for (name, _), fields in SETTINGS.items():
        if name == config.method.name:
            of_method = {field for field in fields if field.startswith("method.") or field == "train.max_steps"}
            named |= {field for field in of_method if _field(config, field) == fields[field]}
    defaults = default_config()
    return {field: _field(defaults, field) for field in named}


def _field(config: ConfigDict, name: str) -> Any:
    return functools.reduce(lambda node, step: node[step], name.split("."), config)


def parse_argument(argument: str | None, *, normal: str, method: str = "gnl") -> tuple[str, str]:
    """What follows the colon of `--config=FILE:ARGUMENT`, "[NORMAL][,METHOD]" -> (normal, method)."""
    given_normal, _, given_method = (argument or "").partition(",")
    return given_normal or normal, given_method or method
