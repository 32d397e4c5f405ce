"""Shifts in words: what each family and severity means on a line, and whether training has shown the like."""

from ml_collections import ConfigDict

from gnl_jax.detection.limits import Counts
from gnl_jax.detection.verdict import Judgement
from gnl_jax.images.corruptions import FAMILIES
from gnl_jax.methods.choices import OPERATIONS

# Family -> what changes.
LABELS = {
    "brightness": "brightness added",
    "contrast": "low contrast",
    "defocus_blur": "out of focus",
    "gaussian_noise": "noise",
    "gain": "flickering lamp",
    "gain_up": "brighter lamp",
    "gain_down": "darker lamp",
    "gamma": "tone curve",
    "white_balance": "white balance",
    "vignette": "dark corners",
    "motion_blur": "motion blur",
    "jpeg": "JPEG",
    "rotation": "rotation",
    "translation": "shifted part",
}
# Family -> the parameter of a severity in words.
_WORDS = {
    "brightness": lambda v: f"brightness raised by {100 * v:.0f} % of white",
    "contrast": lambda v: f"contrast at {100 * v:.0f} %",
    "defocus_blur": lambda v: f"out of focus by {v[0]} pixels",
    "gaussian_noise": lambda v: f"noise of {100 * v:.0f} % of white",
    "gain": lambda v: f"light {100 * (2**v - 1):+.0f} % or {100 * (2**-v - 1):.0f} %, from part to part",
    "gain_up": lambda v: f"lamp {100 * (2**v - 1):+.0f} %",
    "gain_down": lambda v: f"lamp {100 * (2**v - 1):.0f} %",
    "gamma": lambda v: f"tone curve bent by an exponent of {v:g}",
    "white_balance": lambda v: f"light {100 * v:.0f} % warmer or colder",
    "vignette": lambda v: f"corners {100 * v:.0f} % darker",
    "motion_blur": lambda v: f"moved by {100 * v:.1f} % of the picture while the shutter is open",
    "jpeg": lambda v: f"JPEG at quality {v}",
    "rotation": lambda v: f"turned by {v:g} degrees",
    "translation": lambda v: f"moved by {100 * v:.1f} % of the picture",
}


def in_words(family: str, severity: int) -> str:
    """A simulated change as one would say it, such as "lamp +27 %"."""
    return _WORDS[family](FAMILIES[family][1][severity - 1])


def seen_in_training(config: ConfigDict, family: str, severity: int) -> tuple[bool, str]:
    """Whether the training's views contain the like of a change, and which operation of AugMix it is.

    AugMix acts by lookup tables, a blend with grey and a blend with a smoothed image, all of limited strength: contrast
    (autocontrast and equalize, and contrast where it is in the list), darkening (brightness, whose factor is below 1),
    mild blur (sharpness, whose factor is below 1: a 3x3 kernel). Nothing moves, brightens, adds noise or compresses.
    """
    if "augmix" not in config.method.views:
        return False, "training shows images as they are"
    operations = OPERATIONS[config.method.augmix.operations]
    by_family: dict[str, list[str]] = {
        "contrast": [name for name in ("contrast", "autocontrast", "equalize") if name in operations],
        "gain_down": [name for name in ("brightness",) if name in operations],
        "defocus_blur": [name for name in ("sharpness",) if severity == 1 and name in operations],
        "motion_blur": [name for name in ("sharpness",) if severity == 1 and name in operations],
    }
    found = by_family.get(family, [])
    return bool(found), f"by AugMix's {', '.join(found)}" if found else "AugMix has nothing like it"


def sentence(what: str, counts: Counts, judgement: Judgement) -> str:
    """What happened to the parts of a condition, and how it is judged."""
    flagged = counts.by_score + counts.by_drift
    said = [f"{what}: {flagged} of {counts.good} good parts flagged"]
    if counts.by_drift:
        said.append(f"({counts.by_drift} by drift alone)")
    if counts.bad:
        said.append(f"and {counts.caught} of {counts.bad} defects caught")
    return f"{' '.join(said)}; {judgement.state}."
