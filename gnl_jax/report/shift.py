"""The shift report: what a change of light, focus or camera does to a detector, counted on good and defective parts."""

import os
import time
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from gnl_jax.batches import ShapedSource
from gnl_jax.data.folder import corruption
from gnl_jax.data.load import folder_options
from gnl_jax.data.pixels import pixel_hash
from gnl_jax.data.reading import Transform, load_images
from gnl_jax.detection.artifact import use_matching
from gnl_jax.detection.detector import Detector, predict
from gnl_jax.detection.limits import Counts, Limits
from gnl_jax.detection.parts import KEPT_MB, check_unseen
from gnl_jax.detection.threshold import Rule
from gnl_jax.detection.verdict import Judgement, judge
from gnl_jax.progress import progress_bar
from gnl_jax.report.card import card, numbers
from gnl_jax.report.examples import examples, within_size
from gnl_jax.report.schema import SCHEMA
from gnl_jax.report.shift_files import (
    Condition,
    Files,
    ShiftOptions,
    defect_files,
    good_files,
    make_conditions,
    own_files,
)
from gnl_jax.report.shift_rows import Shown, condition_row, count, counts_good, decided, judged


def shift_report(
    detector: Detector,
    *,
    good: str | os.PathLike | Files,
    bad: str | os.PathLike | Files | None = None,
    shifted: Mapping[str, str | os.PathLike] | None = None,
    baseline: Detector | None = None,
    group_by: str = "",
    file: str = "",
    sha256: str = "",
    exclude: Collection[str] = (),
    options: ShiftOptions,
    limits: Limits,
) -> dict[str, Any]:
    """The report as JSON-able data with pictures as data URIs (`report/html.py` shows it).

    Args:
        detector: a calibrated one.
        good: folder of good parts that it has not seen, or their files.
        bad: folder of defective parts, its subfolders the kinds of defect; or their files.
        shifted: name -> folder of parts under a real change: as `shifted_files`, or good images alone.
        baseline: another detector that decides on the same files.
        group_by: which images show the same part (`part_names`): parts are counted, each flagged if an image of it is.
        file, sha256: of the detector, for the record.
        exclude: paths of files to leave out, which cannot be used.
        options: what is simulated.
        limits: what is acceptable.

    Raises:
        ValueError: images that the detector was fitted or calibrated with, which are named; folders without images.
    """
    detector.require_record().require_rules()
    normal = good if isinstance(good, Files) else good_files(good, group_by=group_by)
    if isinstance(bad, Files):
        defective = bad
    else:
        defective = defect_files(bad, group_by=group_by) if bad else Files((), (), (), ())
    own = {name: own_files(folder, group_by=group_by) for name, folder in (shifted or {}).items()}
    normal, defective = normal.without(exclude), defective.without(exclude)
    own = {name: files.without(exclude) for name, files in own.items()}
    conditions = make_conditions(normal, defective, own, options)
    known, total = detector.require_record(), sum(len(c.files.paths) for c in conditions)
    kinds = [kind for kind in known.matchings if kind != known.matching and options.matchings]
    others_by_matching = {kind: use_matching(detector, kind) for kind in kinds}
    rows: list[dict[str, Any]] = []
    counted: list[Counts] = []
    unshifted, started = {}, time.monotonic()
    with progress_bar("conditions", total) as advance:
        for condition in conditions:
            images, hashes = _load(detector, condition, options)
            if condition.family is None:
                check_unseen(hashes, condition.files.names, known.manifest["data"])
            shown = Shown(condition, images, predict(detector, images, maps=False, advance=advance))
            if condition.kind == "clean":
                unshifted = dict(zip(condition.files.paths, decided(detector, shown)))
            others = {kind: counts_good(other, shown) for kind, other in others_by_matching.items()}
            compared = None
            if baseline is not None:
                its = (images, hashes) if _reads_alike(detector, baseline) else _load(baseline, condition, options)
                if condition.family is None:
                    check_unseen(its[1], condition.files.names, baseline.require_record().manifest["data"])
                compared = counts_good(baseline, shown._replace(images=its[0]))
            counted.append(count(detector, shown, unshifted, counted[0] if counted else None))
            row = condition_row(detector, shown, counted[-1], others, compared)
            rows.append(row | examples(detector, shown, seed=options.seed))
    judgements = _judge(rows, counted, limits)
    folders = {name: "" if isinstance(f, Files) else os.fspath(f or "") for name, f in (("good", good), ("bad", bad))}
    names = {"detector": file, **folders, "size": known.config.dataset.size}
    verdict = card(rows, judgements, names=names)
    rows = [judged(*triple) for triple in zip(within_size(rows), counted, judgements)]
    return {
        "schema": SCHEMA,
        "title": f"Shift report of {file or 'a detector'}",
        "verdict": {**verdict._asdict(), "state": verdict.state.value},
        "numbers": numbers(rows, judgements),
        "limits": limits._asdict(),
        "artifact": _artifact(detector, file=file, sha256=sha256),
        "rules": {name: _rule(rule) for name, rule in zip(("ng", "review", "drift"), (*known.rules, known.drift_rule))},
        "thresholds": dict(zip(("ng", "review"), known.thresholds)),
        "conditions": rows,
        "provenance": {
            "good": folders["good"] or f"{len(normal.paths)} marked images",
            "bad": folders["bad"] or (f"{len(bad.paths)} marked images" if isinstance(bad, Files) else ""),
            "shifted": [f"{name}={folder}" for name, folder in (shifted or {}).items()],
            "parts for each simulated shift": f"{options.limit} good, {options.limit_bad} defective, at most",
            "seed": options.seed,
            "seconds": round(time.monotonic() - started),
            "made": dict(known.manifest["made"]),
            "parent": str(known.manifest["parent"] or ""),
        },
    }


def _judge(rows: Sequence[Mapping[str, Any]], counted: Sequence[Counts], limits: Limits) -> list[Judgement]:
    """Photographed conditions and simulated ones are two families: naming is corrected within each."""
    found: dict[int, Judgement] = {}
    for simulated in (False, True):
        places = [i for i, row in enumerate(rows) if (row["kind"] == "simulated") == simulated]
        found |= dict(zip(places, judge([counted[i] for i in places], limits)))
    return [found[i] for i in range(len(rows))]


def _artifact(detector: Detector, *, file: str, sha256: str) -> dict[str, Any]:
    config = detector.require_record().config
    return {
        "file": file,
        "sha256": sha256,
        "method": config.method.name,
        "matching": detector.require_record().matching,
        "teacher": f"{config.teacher.arch}, {config.teacher.weights}",
        "size": config.dataset.size,
        "training images": len(detector.require_record().manifest["data"]["fit"]),
        "calibration images": len(detector.require_record().manifest["data"]["calibration"]),
    }


def _rule(rule: Rule | None) -> dict[str, Any] | None:
    return rule and {"rate": float(rule.rate), "text": rule.describe()}


def _load(detector: Detector, condition: Condition, options: ShiftOptions) -> tuple[ShapedSource, tuple[str, ...]]:
    """The images as the detector sees them, uint8 [n s s 3], and their hashes; many are read when they are needed."""
    dataset = detector.require_record().config.dataset.copy_and_resolve_references()
    dataset.root = "."
    reading = folder_options(dataset, seed=0)
    change: Transform | None = None
    if condition.family is not None and condition.severity is not None:
        change = corruption(condition.family, severity=condition.severity, seed=options.seed)
    loaded = load_images(
        condition.files.paths,
        reading.size if detector.grid is None else detector.grid.native,
        names=condition.files.names,
        white=reading.white,
        alpha=reading.alpha,
        transform=change,
        cache_dir="",
        memory_mb=KEPT_MB,
        look=pixel_hash,
        what=condition.name,
    )
    return loaded.images, loaded.report.seen


def _reads_alike(one: Detector, other: Detector) -> bool:
    return one.require_record().manifest["image"] == other.require_record().manifest["image"]
