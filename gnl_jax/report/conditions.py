"""Shifts in words: what each family and severity means on a line, and whether training has shown the like."""

from collections.abc import Sequence

from ml_collections import ConfigDict
from scipy import stats

from gnl_jax.images.corruptions import FAMILIES
from gnl_jax.methods.choices import OPERATIONS

LEVEL = 0.95  # of the Clopper-Pearson intervals
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
    found = {
        "contrast": [name for name in ("contrast", "autocontrast", "equalize") if name in operations],
        "gain_down": [name for name in ("brightness",) if name in operations],
        "defocus_blur": [name for name in ("sharpness",) if severity == 1 and name in operations],
        "motion_blur": [name for name in ("sharpness",) if severity == 1 and name in operations],
    }.get(family, [])
    return bool(found), f"by AugMix's {', '.join(found)}" if found else "AugMix has nothing like it"


def clopper_pearson(k: int, n: int, *, level: float = LEVEL) -> list[float]:
    """The exact interval of a rate of which k of n were seen (Clopper and Pearson 1934); [0, 1] for n = 0."""
    if n == 0:
        return [0.0, 1.0]
    interval = stats.binomtest(k, n).proportion_ci(level, method="exact")
    return [float(interval.low), float(interval.high)]


def outcome(*, stopped: int, n: int, promised: float) -> str:
    """How good parts fare: "over" the promise if its interval is, "unsure" if the share alone is, else "within"."""
    if n == 0:
        return "unknown"
    if clopper_pearson(stopped, n)[0] > promised:
        return "over"
    return "unsure" if stopped > promised * n else "within"


def sentence(what: str, *, stopped: int, n: int, promised: float, alarm: bool, clean: bool) -> str:
    """What happens to good parts under a condition, and what to do about it."""
    counted = f"{what}: {stopped} of {n} good parts stopped; promised {100 * promised:.3g} in 100"
    found = outcome(stopped=stopped, n=n, promised=promised)
    if found == "over":
        return counted + ("; are these parts like those fitted?" if clean else "; recalibrate or remove the cause")
    if found == "unsure":
        return counted + "; more than that, which so few parts may be by chance"
    return counted + ("; the drift is seen, the decisions hold" if alarm and not clean else "; holds")


def summary_lines(conditions: Sequence[dict], *, promised: float) -> list[str]:
    """The overall sentences: the clean rate, how many changes hold, the worst one, whether defects are still found."""
    clean, shifted = conditions[0], conditions[1:]
    lines = [clean["sentence"]]
    if shifted:
        worst = max(shifted, key=lambda c: (c["stopped"] / c["n"], c["name"]))
        kept = sum(outcome(stopped=c["stopped"], n=c["n"], promised=promised) == "within" for c in shifted)
        lines.append(f"In {kept} of {len(shifted)} changed conditions no more good parts are stopped than promised.")
        lines.append(f"Worst: {worst['sentence']}")
    found = {
        c["name"]: sum(d["stopped"] for d in c["defects"]) / sum(d["n"] for d in c["defects"])
        for c in conditions
        if c["defects"]
    }
    if found:
        least = min(found, key=found.get)
        as_they_are = (
            f"{100 * found['clean']:.0f} % of defective parts are stopped as they are" if "clean" in found else ""
        )
        under = f"{100 * found[least]:.0f} % under {least}, the fewest" if least != "clean" else ""
        lines.append(", ".join(filter(None, (as_they_are, under))) + ".")
    lines.append("No false-alarm rate is promised under any shift: what is counted is what happened to these parts.")
    return lines
