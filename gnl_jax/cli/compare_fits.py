"""The fits and scores of `gnl-jax compare`: one method at a time, resumed where a finished detector is there."""

import dataclasses
import hashlib
import json
import re
import shutil
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gnl_jax.cli.compare_plans import Plan, read_page
from gnl_jax.files import write_atomic
from gnl_jax.version import __version__

if TYPE_CHECKING:
    from gnl_jax.detection.detector import Detector
    from gnl_jax.detection.judging import Division
    from gnl_jax.report.compared_parts import Conditions


def plan_digest(plan: Plan, division: "Division") -> str:
    """What decides how the detector comes out: images, method and options, but not where and how fast.

    A memory bank is the same in batches of any size; a network that trains is not.
    """
    from gnl_jax.config_io import plain_config
    from gnl_jax.report.compared_parts import fingerprint

    batches = {"batch_size": plan.options.batch_size} if plan.trains else {}
    return fingerprint(batches | {
        "version": __version__,
        "config": plain_config(plan.config),
        "epochs": plan.options.epochs,
        "images": sorted(zip(division.fit.names, division.fit.parts, division.fit.hashes)),
    })  # fmt: skip


def is_finished(plan: Plan, digest: str) -> bool:
    """Whether the detector is there, from the same images and options."""
    page = read_page(plan)
    return page.get("compared") == digest and page.get("sha256") is not None and page["sha256"] == _sha256(plan.file)


def fitted(
    plan: Plan, folder: str, digest: str, *, minutes: float | None, say: Callable[[str], None]
) -> tuple["Detector", dict[str, Any]]:
    """The finished detector and its page; fitted unless it is there.

    Args:
        plan: of the method.
        folder: of all good images.
        digest: `plan_digest`.
        minutes: that training may take; None for no limit. The page keeps them.
        say: is told what is done.
    """
    from gnl_jax.detection.artifact import load, save
    from gnl_jax.detection.fit import fit

    page = read_page(plan)
    if is_finished(plan, digest):
        limit = page.get("minutes")
        within = "" if limit is None else f" (it was trained within {limit:.3g} minutes)"
        say(f"its detector is finished, and is not fitted again{within}")
        return load(plan.file), page
    begun_before = page if page.get("compared") == digest and "sha256" not in page else {}
    before = begun_before.get("seconds", 0.0)
    said: list[str] = []

    def hear(text: str) -> None:
        said.append(text)
        say(text)

    minutes = minutes if plan.trains else None
    options = dataclasses.replace(plan.options, time_budget=minutes)
    workdir, begun = plan.workdir, time.monotonic()
    if not begun_before:
        shutil.rmtree(workdir, ignore_errors=True)  # of other images or options
    elif (workdir / "config.json").exists():  # a training that resumes keeps the limit it began with
        minutes = begun_before.get("minutes")
    known: dict[str, Any] = {"compared": digest, "minutes": minutes}
    write_page(plan, known | {"seconds": before})
    try:
        detector = fit(folder, plan.config, options=options, workdir=workdir, say=hear)
    except BaseException:
        write_page(plan, known | {"seconds": before + time.monotonic() - begun})
        raise
    seconds = before + time.monotonic() - begun
    save(detector, plan.file)
    shutil.rmtree(workdir, ignore_errors=True)
    data = detector.require_record().manifest["data"]
    page = known | {
        "seconds": seconds,
        "sha256": _sha256(plan.file),
        "bytes": plan.file.stat().st_size,
        "memory": memory_said(said),
        "learned from": len(data["fit"]),
        "calibrated with": len(data["calibration"]),
    }
    write_page(plan, page)
    return detector, page


def judged(
    plan: Plan, detector: "Detector", conditions: "Conditions", page: dict[str, Any], *, say: Callable[[str], None]
) -> dict[str, Any]:
    """The page with scores of the judging parts and latency; they are kept for the same images and shifts."""
    from gnl_jax.progress import progress_bar
    from gnl_jax.report.compared_parts import SEVERITY, fingerprint, judge

    shown = conditions.shown
    unshifted = conditions.load(plan.config.dataset, None)
    digest = fingerprint([
        page["sha256"], shown.simulated, shown.families, SEVERITY, shown.seed,
        shown.good.names, shown.bad.names, shown.bad.defects, unshifted.hashes,
    ])  # fmt: skip
    if page.get("judged") == digest:
        return page
    count = (1 + len(shown.families)) * (len(shown.good.names) + len(shown.bad.names))
    say(f"scores {count} images: {len(shown.families)} shifts, and unshifted")
    with progress_bar(f"{plan.method}: judging images", count) as advance:
        page = page | {"judged": digest, **judge(detector, conditions, advance)}
    write_page(plan, page)
    return page


def memory_said(said: Sequence[str]) -> str:
    """How much memory the fit said that it takes, such as "about 1.2 GB"; "" where it did not."""
    found = re.search(r"^memory: this takes ((?:less than|about) [\d.]+ GB)", "\n".join(said), re.MULTILINE)
    return found[1] if found else ""


def write_page(plan: Plan, page: dict[str, Any]) -> None:
    """Writes what is known of the method."""
    write_atomic(plan.page, json.dumps(page) + "\n")


def _sha256(path: Path) -> str | None:
    return hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else None
