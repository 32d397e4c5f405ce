"""What a detector knows beside its weights: how it decides, what it was made from, and how to check it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Any, NamedTuple

import ml_collections
import numpy as np

from gnl_jax.config import default_config
from gnl_jax.config_io import filled_config
from gnl_jax.detection.threshold import (
    NG,
    OK,
    REVIEW,
    Rule,
    Rules,
    drift_alarm,
    make_rule,
    make_rules,
    p_counts,
    parse_rate,
)
from gnl_jax.detection.windows import Grid, read_grid
from gnl_jax.images.resize import Geometry
from gnl_jax.methods.base import Prediction

PyTree = Any


class Decision(NamedTuple):
    """What happens to a part ("" where nothing was decided), why ("score", "drift" or ""), and the two p-values.

    Without calibration images there are no p-values, without drift no second one: None.
    """

    decision: str
    reason: str
    p_value: float | None
    drift_p_value: float | None


class Calibration(NamedTuple):
    """Score and drift of the calibration parts, float32 [n] and [m], ascending."""

    score: np.ndarray
    drift: np.ndarray


@dataclass(frozen=True)
class Record:
    """What makes a detector decide: how it was made, its references and its calibration.

    Attributes:
        manifest: JSON-able: config, matching, batch_size, image, rules, data, made, parent, probe.
        matchings: for each matching the variables that scoring with it needs beside the networks.
        calibrations: for each matching what the good calibration parts scored with it.
    """

    manifest: Mapping[str, Any]
    matchings: Mapping[str, PyTree]
    calibrations: Mapping[str, Calibration]

    @property
    def matching(self) -> str:
        """The matching that decides."""
        return self.manifest["matching"]

    @property
    def calibration(self) -> Calibration:
        """That of the matching that decides."""
        return self.calibrations[self.matching]

    @property
    def grid(self) -> Grid | None:
        """Where its windows are; None for a detector of whole images."""
        windows = self.manifest["image"].get("windows")  # absent without them
        return read_grid(windows) if windows else None

    @property
    def geometry(self) -> Geometry | Grid:
        """How an image becomes what the networks see."""
        how = self.manifest["image"]
        return self.grid or Geometry(how["size"], how["resize"], how["filter"])

    @property
    def rules(self) -> Rules[Rule | None]:
        """When the score flags a part."""
        return Rules(read_rule(self.manifest["rules"]["ng"]), read_rule(self.manifest["rules"]["review"]))

    @property
    def drift_rule(self) -> Rule | None:
        """When drift sends a part to review."""
        return read_rule(self.manifest["rules"]["drift"])

    @property
    def thresholds(self) -> tuple[float | None, float | None]:
        """Scores above which a part is rejected (None: never) and reviewed (None where nothing is decided)."""
        rules = self.rules
        if rules.review is None:
            return (self.manifest.get("threshold"),) * 2
        return rules.ng and rules.ng.threshold(self.calibration.score), rules.review.threshold(self.calibration.score)

    def require_rules(self) -> Rules[Rule]:
        """The rules; ValueError for a detector without calibration images, fitted to too few for any."""
        if (review := self.rules.review) is None:
            raise ValueError(
                f"detector: it states no false-alarm rate, because it was fitted to all of its "
                f"{len(self.manifest['data']['fit'])} images; expected a calibrated one (gnl-jax recalibrate)"
            )
        return Rules(self.rules.ng, review)

    def with_threshold(self, threshold: float) -> "Record":
        """The record of a detector without calibration images that rejects (NG) scores above a threshold.

        Raises ValueError where calibration images set the thresholds, or for a threshold that is not finite.
        """
        if self.rules.review is not None:
            raise ValueError("threshold: got one, expected none: calibration images set this detector's thresholds")
        if not np.isfinite(threshold):
            raise ValueError(f"threshold: got {threshold}, expected a finite number")
        return replace(self, manifest={**self.manifest, "threshold": float(threshold)})

    def with_rates(
        self,
        *,
        ng: "str | float | Fraction | None" = None,
        review: "str | float | Fraction | None" = None,
        confidence: float | None = None,
    ) -> "Record":
        """The record with other false-alarm rates, set from its calibration scores.

        Args:
            ng, review: as for `FitOptions`; None keeps the rate there is, and `ng` never exceeds `review`.
            confidence: as for `make_rules`; None keeps the one there is.

        Raises:
            RateError: a rate that the number of calibration parts does not support, as when fitting.
            ValueError: a rate that cannot be read, or a detector without calibration images.
        """
        old = self.require_rules()
        rejected, flagged = (rate if rate is None else parse_rate(rate) for rate in (ng, review))
        flagged = old.review.rate if flagged is None else flagged
        rejected = min(old.ng.rate, flagged) if rejected is None and old.ng else rejected
        level = old.review.confidence if confidence is None else confidence
        rules, _ = make_rules(len(self.calibration.score), ng=rejected, review=flagged, confidence=level)
        chosen = {"ng": rule_record(rules.ng), "review": rule_record(rules.review)}
        return replace(self, manifest={**self.manifest, "rules": {**self.manifest["rules"], **chosen}})

    @property
    def config(self) -> ml_collections.ConfigDict:
        """The configuration it was trained with; fields that its version lacked have their default."""
        return filled_config(self.manifest["config"], default_config())

    def __repr__(self) -> str:
        return f"Record(matching {self.matching}, {describe_rules(self)})"

    def decide(self, prediction: Prediction[np.ndarray]) -> list[Decision]:
        """The decision on each of b parts: that of `rules` by score; drift alone turns OK into REVIEW, nothing else.

        Without calibration images, by the threshold that was given (`with_threshold`), or none at all.
        """
        if self.rules.review is None:
            _, threshold = self.thresholds
            if threshold is None:
                return [Decision("", "", None, None)] * len(prediction.score)
            said = [NG if score > threshold else OK for score in prediction.score]
            return [Decision(decision, _REASON[decision], None, None) for decision in said]
        scores = p_counts(self.calibration.score, prediction.score)
        p_values = scores / (len(self.calibration.score) + 1)
        rule, drifted = self.drift_rule, np.zeros(len(scores), bool)
        drift_p: Sequence[float | None] = [None] * len(scores)
        if prediction.drift is not None and len(self.calibration.drift):
            counts = p_counts(self.calibration.drift, prediction.drift)
            drift_p = [float(p) for p in counts / (len(self.calibration.drift) + 1)]
            drifted = rule.stops(counts) if rule else drifted
        return [
            Decision(REVIEW, "drift", float(p), d)
            if said == OK and alarm
            else Decision(said, _REASON[said], float(p), d)
            for said, p, alarm, d in zip(self.require_rules().decide(scores), p_values, drifted, drift_p)
        ]


_REASON = {OK: "", REVIEW: "score", NG: "score"}


def describe_rules(record: Record) -> str:
    """Thresholds and rates in words, such as "19 calibration parts: NG never, REVIEW above 0.52 (5 % on ...)"."""
    if record.matching not in record.calibrations:
        return "not calibrated"
    if record.rules.review is None:
        return f"no false-alarm rate can be guaranteed from {len(record.manifest['data']['fit'])} images"
    calibration, rules = record.calibration, record.rules
    named = (
        ("NG", rules.ng, calibration.score),
        ("REVIEW", rules.review, calibration.score),
        ("REVIEW for drift", record.drift_rule, calibration.drift),
    )
    decisions = [
        f"{name} above {rule.threshold(values):.4g} (false alarms {rule.describe()})" if rule else f"{name} never"
        for name, rule, values in named
    ]
    return f"{len(calibration.score)} calibration parts: {'; '.join(decisions)}"


def rule_record(rule: Rule | None) -> dict[str, Any] | None:
    """A rule as JSON holds it exactly."""
    return rule and {"rate": str(rule.rate), "k": rule.k, "n": rule.n, "confidence": rule.confidence}


def read_rule(record: Mapping[str, Any] | None) -> Rule | None:
    """What `rule_record` wrote."""
    return Rule(Fraction(record["rate"]), record["k"], record["n"], record["confidence"]) if record else None


def describe_parent(parent: Mapping[str, Any]) -> str:
    """What was done to another detector, when and why, such as "recalibrated 2026-01-31 for 'exposure 6'"."""
    change = parent.get("change")  # absent where only the condition changed
    return f"{change} {parent['date']}" if change else f"recalibrated {parent['date']} for {parent['condition']!r}"


class FolderDrift(NamedTuple):
    """How many of n images have a small drift p-value, how many would by chance, and whether that is an alarm."""

    small: int
    n: int
    expected: float
    alarm: bool


def folder_drift(record: Record, drift: Sequence[float] | np.ndarray) -> FolderDrift | None:
    """Whether n parts as a whole have drifted (`drift_alarm`); None where drift is not measured.

    The rate is review's, or the smallest that the calibration supports. drift: a part's largest, [n].
    """
    calibration = record.calibration.drift
    if not len(drift) or not len(calibration):
        return None
    rule = folder_rule(record)
    small = int(rule.stops(p_counts(calibration, np.asarray(drift, np.float32))).sum())
    n = len(drift)
    return FolderDrift(small, n, n * rule.k / (rule.n + 1), drift_alarm(small, n, rule))


def folder_rule(record: Record) -> Rule:
    """The rule by which `folder_drift` calls a drift p-value small, for a record with calibrated drift."""
    n = len(record.calibration.drift)
    return make_rule(max(record.require_rules().review.rate, Fraction(1, n + 1)), n)
