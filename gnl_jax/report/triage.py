"""A page of a scored batch: ranked, with pictures, to be marked. Pictures wait on the disk, so memory stays flat."""

import collections
import hashlib
import json
import os
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple

from absl import logging
from markupsafe import Markup

from gnl_jax.data.pixels import ImageError, read_file
from gnl_jax.detection.advice import State, Verdict
from gnl_jax.detection.detector import Detector
from gnl_jax.detection.inspection import ERROR, Inspected
from gnl_jax.detection.marks import COLUMNS
from gnl_jax.detection.record import Record, describe_rules
from gnl_jax.detection.rows import harmless
from gnl_jax.files import open_atomic
from gnl_jax.progress import progress_bar
from gnl_jax.report.html import template
from gnl_jax.report.pictures import as_text, map_layer, native, thumbnail
from gnl_jax.text import printable

TEMPLATE = "triage.html.jinja"
LIMIT_MB = 64  # of a page's pictures, which a browser opens in seconds
SMALL_SHARE = 0.6  # of that at most goes to small pictures, what is left to those at their own size
MOST_BOXES = 40  # of an image
GRAVITY = {"NG": 0, "REVIEW": 1, ERROR: 2}  # then the others
CLASSES = {State.DRIFTED: "drifted", State.UNKNOWN: "unsure", State.NO_DRIFT: "within"}


class Held(NamedTuple):
    """How many images a page shows, how many of them small, and how many at their own size."""

    images: int
    small: int
    native: int


class Triage:
    """Takes the results of a batch in order and writes its page.

    Each result is kept in a temporary file beside the page, with its small pictures; memory holds its rank alone.
    """

    def __init__(self, page: str | os.PathLike, detector: Detector):
        self.page, self.detector = Path(page), detector
        self._spool = tempfile.TemporaryFile(dir=self.page.absolute().parent)  # noqa: SIM115, closed by `close`
        self._ranks: list[tuple[int, float, int]] = []
        self._starts = [0]
        self._key = hashlib.sha256()

    def __enter__(self) -> "Triage":
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        self._spool.close()

    def add(self, result: Inspected, *, below: str = "") -> None:
        """Takes the next result, with `image` and `map`; one of an image that could not be used has neither.

        below: the image's name below the input that it is of; by default its file's name.
        """
        place = len(self._ranks) + 1
        entry = row(result, place, below=below)
        self._key.update(json.dumps(entry).encode())
        pictures = {"small": "", "map": ""}
        if result.decision != ERROR:
            drawn = (_small(self.detector, result), map_layer(self.detector, result))
            pictures = dict(zip(pictures, map(as_text, drawn)))
        line = json.dumps({"row": entry, "path": result.path, **pictures}).encode()
        self._spool.write(line)
        self._starts.append(self._starts[-1] + len(line))
        self._ranks.append((GRAVITY.get(result.decision, len(GRAVITY)), -(result.score or 0.0), place))

    def write(self, verdict: Verdict, *, file: str, limit_mb: float = LIMIT_MB) -> Held:
        """Writes the page, whole or not at all.

        Args:
            verdict: on the batch.
            file: the detector's, for the commands.
            limit_mb: MB (millions of bytes) of all pictures. By rank, small pictures come first, then those at their
                own size; the page says how many there are.
        """
        order = [place - 1 for *_, place in sorted(self._ranks)]
        counts: collections.Counter[str] = collections.Counter()
        with open_atomic(self.page) as out:
            for chunk in template(TEMPLATE).generate(
                title=printable(f"Batch of {len(order)} images"),
                verdict=verdict,
                found=printable(verdict.found.removeprefix(f"{verdict.state.capitalize()}. ")),
                state_class=CLASSES[verdict.state],
                detector=_described(self.detector, file),
                batch=_safe(self._batch()),
                file=printable(file),
                rows=(_safe(self._read(i)["row"]) for i in order),
                pictures=self._pictures(order, 1e6 * limit_mb, counts),
                limit=f"{limit_mb:g} MB",
            ):
                out.write(chunk.encode())
        return Held(len(order), counts["small"], counts["native"])

    def _batch(self) -> dict[str, Any]:
        """What the page's script knows of the batch."""
        record = self.detector.require_record()
        (ng, review), drift = record.thresholds, record.drift_rule
        return {
            "key": f"gnl-jax marks {self._key.hexdigest()}",
            "csv": printable(f"{self.page.stem}.marks.csv"),
            "columns": COLUMNS,
            "thresholds": {"ng": ng, "review": review},
            "drift": None if drift is None else drift.threshold(record.calibration.drift),
        }

    def _pictures(
        self, order: list[int], limit: float, counts: collections.Counter[str]
    ) -> Iterator[tuple[str, Markup]]:
        """(id, base64) of each picture that fits; counts those there are."""
        left, small = limit, SMALL_SHARE * limit
        for i in order:
            entry = self._read(i)
            size = len(entry["small"]) + len(entry["map"])
            if size > small:
                break
            left, small = left - size, small - size
            if entry["small"]:
                counts["small"] += 1
            for kind in ("small", "map"):
                if entry[kind]:
                    yield f"{kind}-{i + 1}", Markup(entry[kind])
        with progress_bar("page", len(order)) as advance:
            for i in order:
                entry = self._read(i)
                advance(1)
                if entry["row"]["decision"] == ERROR:
                    continue
                try:
                    text = as_text(native(self.detector, entry["path"]))
                except (ImageError, OSError):  # it was there when it was scored: the row and its small picture stand
                    continue
                if len(text) > left:
                    break
                left -= len(text)
                counts["native"] += 1
                yield f"native-{i + 1}", Markup(text)

    def _read(self, i: int) -> dict[str, Any]:
        start, end = self._starts[i : i + 2]
        self._spool.seek(start)
        return json.loads(self._spool.read(end - start))


def row(result: Inspected, place: int, *, below: str = "") -> dict[str, Any]:
    """What the page shows of a result, and exports with its mark (`marks.COLUMNS`); texts made harmless.

    place: of the image in the batch, from 1; below: its name below the input that it is of, by default its file's name.
    """
    name = printable(result.path)
    cell, used = harmless(result.path), result.decision != ERROR
    entry = {
        "place": place,
        "name": name,
        "folder": printable(os.path.dirname(result.path)) or ".",
        "decision": result.decision,
        "reason": harmless(result.reason),
        "score": result.score,
        "p_value": result.p_value,
        "drift": result.drift,
        "drift_p_value": result.drift_p_value,
        "boxes": [list(box) for box in result.boxes[:MOST_BOXES]],
        "more_boxes": max(0, len(result.boxes) - MOST_BOXES),
        "size": result.size,
        "sha256": _digest(result.path) if used else "",
        "below": harmless(below or os.path.basename(result.path)),
    }
    return entry | ({"file": cell} if cell != name else {})


def _digest(path: str) -> str:
    """SHA-256 of a file's content; "", with a warning, where the file went away since it was scored."""
    try:
        return hashlib.sha256(read_file(path)).hexdigest()
    except (ImageError, OSError) as error:
        logging.warning("%s; it was scored, but no command can use a mark on it", error)
        return ""


def _small(detector: Detector, result: Inspected) -> bytes:
    """The small picture; b"" where it takes the file (`thumbnail`) and that went away since it was scored."""
    try:
        return thumbnail(detector, result)
    except (ImageError, OSError):
        return b""


def _described(detector: Detector, file: str) -> str:
    record: Record = detector.require_record()
    config = record.config
    made = f"{config.method.name}, {detector.size} px, matching {record.matching}"
    return printable(f"{file}: {made}; {describe_rules(record)}")


def _safe(value: Mapping[str, Any]) -> Markup:
    """JSON that ends no element and begins no comment, in ASCII."""
    return Markup(json.dumps(value, allow_nan=False).replace("<", "\\u003c"))
