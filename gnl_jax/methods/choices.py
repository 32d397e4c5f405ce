"""What the fields of a configuration may be, so that a wrong one is refused before anything is read or written."""

import flax.traverse_util
import jax.numpy as jnp
from ml_collections import ConfigDict

from gnl_jax.images.augmix import MVTEC_OPERATIONS, PACS_OPERATIONS
from gnl_jax.images.views import NORMALISERS, VIEWS
from gnl_jax.methods.scoring import ANCHORS
from gnl_jax.ops.matching import MATCHINGS
from gnl_jax.ops.mixing import MIXINGS

OPERATIONS = {"mvtec": MVTEC_OPERATIONS, "pacs": PACS_OPERATIONS}
# precision -> (dtype of the convolutions, JAX's setting for products of float32)
PRECISIONS = {
    "float32": (jnp.float32, "float32"),
    "tf32": (jnp.float32, "tensorfloat32"),
    "bfloat16": (jnp.bfloat16, "float32"),
}
CHOICES = {
    "precision": PRECISIONS,
    "method.mixing.kind": ("none", *MIXINGS),
    "method.mixing.targets": ("mixed", "clean"),
    "method.jigsaw.reconstruct": ("all", "ordered"),
    "method.normalise": NORMALISERS,
    "method.reduction": ("sum", "mean"),
    "method.augmix.operations": OPERATIONS,
    "eval.anchor": ANCHORS,
}
INFINITY = float("inf")
TINY = 1e-6  # for what must be positive
# Smallest and largest value. `load_task` checks the group `dataset`, `augmix_options` the group `method.augmix`, and
# the builders of other systems their own.
RANGES = {
    "seed": (0, INFINITY),
    "teacher.seed": (0, INFINITY),
    "method.mixing.probability": (0, 1),
    "method.mixing.alpha": (TINY, INFINITY),
    "method.jigsaw.weight": (0, INFINITY),
    "method.jigsaw.permutations": (1, 1000),
    "method.jigsaw.identity": (0, 1),
    "train.epochs": (1, INFINITY),
    "train.max_steps": (0, INFINITY),
    "train.batch_size": (1, INFINITY),
    "train.learning_rate": (0, INFINITY),
    "train.beta1": (0, 1),
    "train.beta2": (0, 1),
    "train.steps_per_dispatch": (0, INFINITY),
    "train.checkpoint_seconds": (0, INFINITY),
    "train.device_budget_mb": (0, INFINITY),
    "train.feature_budget_mb": (0, INFINITY),
    "eval.alpha": (0, 1),
    "eval.anchors": (1, INFINITY),
    "eval.batch_size": (1, INFINITY),
}


def choose(table, value, field: str):
    """`table[value]`; ValueError names the field and lists the choices."""
    check_choice(table, value, field)
    return table[value]


def check_fields(config: ConfigDict) -> None:
    """Raises ValueError for the first field whose value no configuration may have; it names the field."""
    fields = flax.traverse_util.flatten_dict(config.to_dict(), sep=".")
    for field, table in CHOICES.items():
        check_choice(table, fields[field], field)
    for field, (least, most) in RANGES.items():
        if not least <= fields[field] <= most:
            wanted = f"{least} or more" if most == INFINITY else f"{least} to {most}"
            raise ValueError(f"{field}: got {fields[field]}, expected {wanted}")
    matching = config.eval.matching
    _check_each(("none", *MATCHINGS), (matching,) if isinstance(matching, str) else matching, "eval.matching")
    _check_each(VIEWS, config.method.views, "method.views")


def _check_each(table, values, field: str) -> None:
    if not values or not set(values) <= set(table):
        raise ValueError(f"{field}: got {values!r}, expected one or more of {', '.join(table)}")


def check_choice(table, value, field: str) -> None:
    """ValueError naming the field and the choices, unless the value is among them."""
    if value not in table:
        raise ValueError(f"{field}: got {value!r}, expected one of {', '.join(table)}")
