"""Groups of a configuration as the options that functions take: below, nothing knows a ConfigDict."""

import functools

import jax
from ml_collections import ConfigDict

from gnl_jax.images.augmix import AugMixOptions, sample_augmix
from gnl_jax.images.jigsaw import jigsaw_permutations
from gnl_jax.methods.choices import OPERATIONS, choose
from gnl_jax.methods.jigsaw import Jigsaw
from gnl_jax.methods.scoring import Scoring
from gnl_jax.ops.mixing import Mixing


def augmix_options(config: ConfigDict) -> AugMixOptions:
    """The group `method.augmix` as options."""
    severity = config.severity
    if severity != "published":
        try:
            severity = float(severity)
        except ValueError:
            raise ValueError(f"method.augmix.severity: got {severity!r}, expected 'published' or a number") from None
    options = AugMixOptions(
        operations=choose(OPERATIONS, config.operations, "method.augmix.operations"),
        severity=severity,
        width=config.width,
        depth=config.depth or None,
        alpha=config.alpha,
        sticky_depth=config.sticky_depth,
        geometric=config.geometric,
    )
    try:
        jax.eval_shape(functools.partial(sample_augmix, **options._asdict()), jax.random.key(0))
    except ValueError as error:
        raise ValueError(f"method.augmix.{error}") from error
    return options


def mixing_options(config: ConfigDict) -> Mixing | None:
    """The group `method.mixing` as options; None where nothing is mixed."""
    if config.kind == "none":
        return None
    return Mixing(config.kind, config.probability, config.alpha, clean_targets=config.targets == "clean")


def jigsaw_options(config: ConfigDict) -> Jigsaw | None:
    """The group `method.jigsaw` as options; None where the weight is zero."""
    if config.weight == 0:
        return None
    permutations = jigsaw_permutations(config.permutations)
    return Jigsaw(config.weight, permutations, config.identity, ordered_only=config.reconstruct == "ordered")


def scoring_options(config: ConfigDict, *, matching: str) -> Scoring:
    """The group `eval` and the run's seed as options of scoring."""
    return Scoring(matching, config.eval.alpha, config.eval.anchor, config.eval.anchors, config.seed)
