"""A valid row of results.json to vary."""

from gnl_jax.evaluation.results import make_row


def row(**changes):
    fields = {
        "method": "gnl",
        "dataset": "digits",
        "normal": "3",
        "seed": 0,
        "teacher": "resnet18 random",
        "matching": {"kind": "efdm", "alpha": 0.5, "anchor": "first", "k": None},
        "steps": 200,
        "auroc_id": 0.98765,
        "auroc_ood": {"photo": 0.75, "contrast": 1},
        "n_test": {"id": 364, "photo": 364, "contrast": 364},
        "seconds": {"train": 12.5, "score": 0.25},
        "device": "cpu",
        "versions": {"jax": "0.10.2"},
        "config_sha": "ab12",
    }
    return make_row(**(fields | changes))
