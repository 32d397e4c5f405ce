"""A shift report of schema 2 as other code hands it to the page: 14 families at five severities, clean, own folders."""

import base64
import io
import math

import numpy as np
from PIL import Image, ImageDraw

from gnl_jax.detection.evidence import upper_bound
from gnl_jax.detection.limits import Counts, make_limits
from gnl_jax.detection.verdict import judge

FAMILIES = (
    *("gain_up", "gain_down", "gamma", "white_balance", "vignette", "brightness", "contrast"),
    *("gaussian_noise", "defocus_blur", "motion_blur", "jpeg", "rotation", "translation", "exposure"),
)
DEFECTS = ("crack", "scratch", "hole", "stain")
LIMITS = make_limits(0.05)
N = 100  # good parts in each condition
PIXEL = "data:image/gif;base64,R0lGODlhAQABAAAAACwAAAAAAQABAAA="


def photograph(
    *, seed: int, size: int = 128, aspect: float = 1.0, gain: float = 1.0, heat: bool = False, defect: bool = False
) -> str:
    """A made-up part, a grey disk with four holes, as a JPEG data URI; `heat`: with a red spot over its defect."""
    rng = np.random.default_rng(seed)
    picture = Image.new("RGB", (size, size), (205, 202, 196))
    draw = ImageDraw.Draw(picture)
    s = size / 128
    draw.ellipse([16 * s, 16 * s, 112 * s, 112 * s], fill=(120, 124, 130), outline=(70, 72, 76))
    draw.ellipse([44 * s, 44 * s, 84 * s, 84 * s], fill=(150, 154, 160), outline=(90, 92, 96))
    for angle in np.pi / 4 + np.pi / 2 * np.arange(4):
        x, y = 64 * s + 38 * s * np.cos(angle), 64 * s + 38 * s * np.sin(angle)
        draw.ellipse([x - 5 * s, y - 5 * s, x + 5 * s, y + 5 * s], fill=(40, 42, 44))
    if defect:
        draw.line([80 * s, 30 * s, 92 * s, 52 * s, 88 * s, 66 * s], fill=(30, 30, 30), width=max(1, int(2 * s)))
    pixels = np.clip(np.asarray(picture) * gain + rng.normal(0, 4, (size, size, 1)), 0, 255)
    if heat:
        rows, columns = np.mgrid[:size, :size]
        spot = np.exp(-((rows - 48 * s) ** 2 + (columns - 88 * s) ** 2) / (2 * (14 * s) ** 2))[..., None]
        pixels = pixels * (1 - 0.7 * spot) + np.array([213, 94, 0]) * 0.7 * spot
    file = io.BytesIO()
    shown = Image.fromarray(pixels.astype(np.uint8)).resize((size, round(size / aspect)))
    shown.save(file, "JPEG", quality=85)
    return "data:image/jpeg;base64," + base64.b64encode(file.getvalue()).decode()


def condition(name="clean", *, kind="clean", family=None, severity=None, shift=0.0, image=PIXEL, n=N, **fields) -> dict:
    """One condition; the further its `shift`, the more good parts score above the threshold 1 (and 1.3)."""
    good = np.random.default_rng(len(name) + 7 * (severity or 0)).gamma(20, 0.033 * (1 + shift), n)
    bad = np.random.default_rng(1).gamma(12, 0.13 * (1 - 0.3 * shift), 80)
    stopped, rejected = int((good > 1).sum()), int((good > 1.3).sum())
    edges = np.linspace(0, math.ceil(max(good.max(initial=0), bad.max())), 41)
    alarmed = shift > 0.15
    caught = int((bad > 1).sum())
    before = int((np.random.default_rng(1).gamma(12, 0.13, 80) > 1).sum())
    lost, gained = (max(0, before - caught), max(0, caught - before)) if kind == "simulated" else (None, None)
    counts = Counts(n, stopped, 0, 80, caught, lost, gained, drift_seen=alarmed)
    judgement = judge([counts], LIMITS)[0]
    return {
        "name": name,
        "what": "unshifted" if kind == "clean" else f"{name} in words" if kind == "simulated" else name,
        "label": name if family is None else f"{family} label",
        "family": family,
        "severity": severity,
        "kind": kind,
        "seen": {"clean": True, "own": None}.get(kind, family in FAMILIES[5:9]),
        "seen_note": "AugMix's views include it" if family in FAMILIES[5:9] else "",
        "sentence": f"{name}: {stopped} of {n} good parts flagged, {caught} of 80 defects caught; {judgement.state}.",
        "state": judgement.state.value,
        "alarms": judgement.alarms.value,
        "detection": judgement.defects.value,
        "good_enough": judgement.good_enough,
        "bad_enough": judgement.bad_enough,
        "n": n,
        "stopped": stopped,
        "by_score": stopped,
        "by_drift": 0,
        "rejected": rejected,
        "alarms_bound": upper_bound(stopped, n),
        "bad": 80,
        "caught": caught,
        "lost": lost,
        "gained": gained,
        "drift": {"median": 1 + 9 * shift, "alarm": alarmed},
        "matchings": {
            "efdm": {"stopped": stopped, "rejected": rejected},
            "none": {"stopped": min(n, 2 * stopped), "rejected": min(n, 2 * rejected)},
        },
        "baseline": {"stopped": min(n, 3 * stopped), "rejected": rejected},
        "defects": [
            {"name": defect, "n": 20, "stopped": int((part > 1).sum()), "rejected": int((part > 1.3).sum())}
            for defect, part in zip(DEFECTS, bad.reshape(4, 20))
        ],
        "auroc": float((good[:, None] < bad).mean()) if n else None,
        "thumbnail": image,
        "false_alarms": [],
        "missed": [],
        "histogram": {
            "edges": edges.tolist(),
            "good": np.histogram(good, edges)[0].tolist(),
            "bad": np.histogram(bad, edges)[0].tolist(),
        },
    } | fields


def small_report(**fields) -> dict:
    """Clean, one family at severities 2 and 10, and an own folder, with images of one pixel."""
    return {
        "schema": 2,
        "title": "Shift report: washers",
        "verdict": {
            "state": "within limits",
            "found": "On parts as photographed. 1 of 2 simulated shifts are within limits too; avoid lamp +27 %.",
            "action": "Use it. The score command reports drift.",
            "command": "gnl-jax score washers.gnl IMAGES --fail-on review",
        },
        "numbers": {
            "false_alarms": {"now": [2, 100], "worst": [46, 100], "where": "lamp +27 %"},
            "defects": {"now": [74, 80], "worst": [61, 80], "where": "lamp +27 %"},
            "within": [2, 4],
        },
        "limits": LIMITS._asdict(),
        "artifact": {
            "file": "washers.gnl",
            "sha256": "0123456789abcdef" * 4,
            "method": "gnl",
            "matching": "efdm",
            "teacher": "wide_resnet50_2",
            "size": 256,
            "calibration images": 300,
        },
        "rules": {
            "ng": {"rate": 0.01, "text": "1 % on average, with 95 % confidence at most 2.1 %"},
            "review": {"rate": 0.05, "text": "5 % on average, with 95 % confidence at most 7.3 %"},
            "drift": {"rate": 0.05, "text": "5 % on average, with 95 % confidence at most 7.3 %"},
        },
        "thresholds": {"ng": 1.3, "review": 1.0},
        "conditions": [
            condition(),
            condition("gain_up 10", kind="simulated", family="gain_up", severity=10, shift=0.6),
            condition("gain_up 2", kind="simulated", family="gain_up", severity=2, shift=0.2, **examples()),
            condition("line 7, new lamp", kind="own", shift=0.3, n=60),
        ],
        "provenance": {"command": "gnl report", "seed": 0, "versions": {"jax": "0.10.2"}, "folders": ["good", "bad"]},
    } | fields


def picture(name: str, *, image: str = PIXEL, decision="REVIEW") -> dict:
    return {"name": name, "score": 1.2345, "decision": decision, "image": image}


def examples(*, image: str = PIXEL, cracked: str = PIXEL, shown: int = 1) -> dict:
    """Pictures of a condition."""
    return {
        "false_alarms": [picture(f"good/{i:03d}.png", image=image) for i in range(shown)],
        "missed": [picture(f"crack/{i:03d}.png", image=cracked, decision="OK") for i in range(shown)],
    }


def full_report(*, size: int = 128, shown: int = 3) -> dict:
    """75 conditions with photographs: clean, 14 families at five severities, four own folders."""
    conditions = [condition(image=photograph(seed=0, size=size, aspect=1.5))]
    pictures = {
        "image": photograph(seed=5, size=size, aspect=1.5, heat=True),
        "cracked": photograph(seed=6, size=size, aspect=1.5, defect=True, heat=True),
    }
    for f, family in enumerate(FAMILIES):
        for severity in range(1, 6):
            shift = 0.02 * severity * (f % 5)
            image = photograph(seed=severity, size=size, aspect=1.5, gain=1 + shift)
            fields = {"kind": "simulated", "family": family, "severity": severity, "shift": shift, "image": image}
            conditions.append(condition(f"{family} {severity}", **fields, **examples(**pictures, shown=shown)))
    for i, name in enumerate(("line 7, new lamp", "night shift", "supplier B", "after cleaning")):
        image = photograph(seed=90 + i, size=size, aspect=1.5, gain=0.9)
        conditions.append(condition(name, kind="own", shift=0.1 * i, n=40 + i, image=image))
    return small_report(conditions=conditions)
