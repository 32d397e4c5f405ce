"""Settings of the systems that have publications of their own, by the data that they are for."""

from typing import Any

_KDAD = {
    "teacher.arch": "vgg16",
    "train.batch_size": 64,
    "train.learning_rate": 1e-3,
    "train.beta1": 0.9,
    "train.feature_budget_mb": 2048.0,  # nothing is augmented, so the source's features never change
}
_DEEP_SVDD = {"train.epochs": 150, "train.batch_size": 200, "train.learning_rate": 1e-4, "train.beta1": 0.9}
_F_ANOGAN = {"train.learning_rate": 2e-4, "train.beta1": 0.5}
_DEEP_SVDD_COLOUR = _DEEP_SVDD | {
    "dataset.size": 32,
    "method.deep_svdd.network": "cifar10",
    "method.deep_svdd.pretrain_epochs": 350,
    "method.deep_svdd.pretrain_milestone": 250,
    "method.deep_svdd.pretrain_weight_decay": 0.5e-6,
}
# (method, data whose settings these are) -> fields. Paper: PACS as MVTec AD; Published code of the loops of KDAD: one
# epoch more than its parameter says.
PUBLISHED_SETTINGS: dict[tuple[str, str], dict[str, Any]] = {
    ("kdad", "mnist"): _KDAD | {"dataset.size": 32, "train.epochs": 52, "method.normalise": "none"},
    ("kdad", "cifar10"): _KDAD
    | {"dataset.size": 224, "dataset.resize": 256, "dataset.filter": "lanczos", "train.epochs": 202},
    ("kdad", "mvtec"): _KDAD
    | {"dataset.size": 128, "train.epochs": 602, "method.normalise": "none", "method.kdad.mse_weight": 0.5},
    ("deep_svdd", "mnist"): _DEEP_SVDD | {"dataset.size": 28},
    ("deep_svdd", "cifar10"): _DEEP_SVDD_COLOUR,
    ("deep_svdd", "mvtec"): _DEEP_SVDD_COLOUR,
    ("f_anogan", "mnist"): _F_ANOGAN | {"dataset.size": 28, "train.epochs": 200, "train.batch_size": 64},
    ("f_anogan", "cifar10"): _F_ANOGAN
    | {"dataset.size": 32, "train.epochs": 200, "train.batch_size": 64, "method.f_anogan.network": "convolutional"},
    ("f_anogan", "mvtec"): _F_ANOGAN
    | {
        "dataset.size": 64,
        "train.epochs": 300,
        "train.batch_size": 32,
        "method.f_anogan.network": "convolutional",
        "method.f_anogan.flip": True,
    },
}
