"""What a method's name stands for: fields of a configuration, in general and for each kind of data."""

from typing import Any

from gnl_jax.config_published import PUBLISHED_SETTINGS

_RD4AD = {"views": ("clean",), "loss_ori": 1.0, "loss_abs": 0.0, "loss_lowf": 0.0}
# google-research/augmix: a fixed severity and a depth for each chain, the published operations; the image is replaced.
_AUGMIX = {"views": ("augmix",), "augmix.severity": "3", "augmix.sticky_depth": False, "augmix.geometric": True}
_PATCHCORE = {
    "system": "memory_bank",
    "memory_bank.coreset": "k_center",
    "memory_bank.rows": 0.1,
    "memory_bank.score": "patches",
}
_MATCHED_BANK = {
    "system": "memory_bank",
    "memory_bank.pixels": True,
    "memory_bank.pixel_target": "range",
    "memory_bank.matched": (1, 2, 3),
    "memory_bank.coreset": "k_center",
    "memory_bank.candidates": 50_000,
    "memory_bank.projection": 64,
    "memory_bank.views": ("degraded",),
}
# Whole images, for one class against the others: the images of a class have no patch in common that others lack.
_IMAGE_BANK = {
    "system": "memory_bank",
    "memory_bank.sizes": ("1:3",),
    "memory_bank.embedding": "pooled",
    "memory_bank.distance": "cosine",
    "memory_bank.rows": 10_000.0,
}
# AnomalyDINO (Damm et al., WACV 2025) at 448 pixels: the last tokens, cosine distance, mean of the top 1 %. All patches
# of up to 16 images, the most that it was published with, are kept. Ours: images become squares by a bilinear resize.
_DINOV2_BANK = {
    "system": "memory_bank",
    "memory_bank.sizes": ("1:last",),
    "memory_bank.embedding": "tokens",
    "memory_bank.distance": "cosine",
    "memory_bank.score": "top",
    "memory_bank.rows": 16_384.0,
}
_PLAIN, _BOTH = ("none",), ("none", "efdm")  # two matchings from the same weights: two rows of a table

# What a method's name stands for: fields of the group `method`, and the matchings it is evaluated with.
# ATTA is RD4AD with GNL's test-time matching, DINL is GNL's training without it (Table 5).
METHODS: dict[str, tuple[dict[str, Any], tuple[str, ...]]] = {
    "rd4ad": (_RD4AD, _BOTH),
    "atta": (_RD4AD, ("efdm",)),
    "dinl": ({}, _PLAIN),
    "gnl": ({}, _BOTH),
    # Table 5: one of the two similarity losses alone. Paper: weights not given; ours are those of GNL.
    "abs_only": ({"loss_lowf": 0.0}, _PLAIN),
    "lowf_only": ({"loss_abs": 0.0}, _PLAIN),
    # Table 6; its second row is "dinl".
    "lambda_95": ({"loss_ori": 0.95, "loss_abs": 0.025, "loss_lowf": 0.025}, _PLAIN),
    "lambda_85": ({"loss_ori": 0.85, "loss_abs": 0.075, "loss_lowf": 0.075}, _PLAIN),
    "lambda_80": ({"loss_ori": 0.8, "loss_abs": 0.1, "loss_lowf": 0.1}, _PLAIN),
    # Generalisation baselines on RD4AD.
    "augmix": (_RD4AD | _AUGMIX, _PLAIN),
    "mixstyle": (_RD4AD | {"mixing.kind": "mixstyle"}, _PLAIN),
    "efdm": (_RD4AD | {"mixing.kind": "efdm"}, _PLAIN),
    "augmix_mixstyle": (_RD4AD | _AUGMIX | {"mixing.kind": "mixstyle"}, _PLAIN),
    "augmix_efdm": (_RD4AD | _AUGMIX | {"mixing.kind": "efdm"}, _PLAIN),
    "jigsaw": (_RD4AD | {"jigsaw.weight": 0.7}, _PLAIN),
    # Memory banks: ours, matched at test time, and PatchCore as published.
    "patchcore": (_PATCHCORE, _PLAIN),
    "matched_bank": (_MATCHED_BANK, _BOTH),
    # Whole and half side: for large defects, as on surfaces; on small parts it finds less (docs/memory-bank.md).
    "two_size_bank": (
        _MATCHED_BANK | {"memory_bank.sizes": ("1:2+3", "1/2:3"), "memory_bank.joined": "scores"},
        _BOTH,
    ),
    "augmented_bank": (_MATCHED_BANK | {"memory_bank.views": ("degraded", "augmix")}, _BOTH),
    "image_bank": (_IMAGE_BANK, _BOTH),
    # Banks of DINOv2's tokens: as published; matched after block 3; and of whole images by their class token.
    "dinov2_bank": (_DINOV2_BANK, _PLAIN),
    "matched_dinov2_bank": (
        _DINOV2_BANK | {"memory_bank.pixels": True, "memory_bank.pixel_target": "range", "memory_bank.matched": (3,)},
        _BOTH,
    ),
    "dinov2_image_bank": (
        _IMAGE_BANK | {"memory_bank.sizes": ("1:last",), "memory_bank.embedding": "class"},
        _PLAIN,
    ),
    # The matched bank, and RD4AD's student after a few hundred steps.
    "bank_and_student": (_MATCHED_BANK | _RD4AD | {"system": "bank_and_student"}, _BOTH),
    # Other systems.
    "kdad": ({"system": "kdad"}, _PLAIN),
    "deep_svdd": ({"system": "deep_svdd"}, _PLAIN),
    "f_anogan": ({"system": "f_anogan"}, _PLAIN),
}

_BARYCENTRE = {"eval.anchor": "barycentre"}
_BRIEF = {"train.max_steps": 300}  # of the student beside a bank
_STAGES_OF_32 = {"method.memory_bank.sizes": ("1:1+2",)}  # at 32 pixels stage 3 is 2x2
DINOV2_BANKS = tuple(name for name in METHODS if "dinov2" in name)
_DINOV2 = _BARYCENTRE | {"teacher.arch": "dinov2_vits14"}
BANKS = tuple(name for name, (fields, _) in METHODS.items() if fields.get("system") == "memory_bank")
# (method, data whose settings these are) -> fields.
SETTINGS: dict[tuple[str, str], dict[str, Any]] = {
    # A bank has the style of all its images, not of one.
    **{(name, "mnist"): _BARYCENTRE | _STAGES_OF_32 for name in BANKS},
    ("bank_and_student", "mnist"): _BARYCENTRE | _STAGES_OF_32 | _BRIEF,
    **{("bank_and_student", like): _BARYCENTRE | _BRIEF for like in ("cifar10", "mvtec")},
    **{(name, like): _BARYCENTRE for name in BANKS for like in ("cifar10", "mvtec")},
    # Half of 32 pixels is less than the teacher takes.
    **{("two_size_bank", like): _BARYCENTRE | {"dataset.size": 64} for like in ("mnist", "cifar10")},
    # Digits keep their places: each stage is a row as it is, and the two distances are standardised and added.
    ("image_bank", "mnist"): _BARYCENTRE
    | {"method.memory_bank.sizes": ("1:1", "1:2"), "method.memory_bank.embedding": "flattened"},
    **{(name, "mvtec"): _DINOV2 | {"dataset.size": 448} for name in DINOV2_BANKS},
    **{(name, like): _DINOV2 | {"dataset.size": 224} for name in DINOV2_BANKS for like in ("mnist", "cifar10")},
    **PUBLISHED_SETTINGS,
}
