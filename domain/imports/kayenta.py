"""Kayenta's canary config, as it is, to metrics and the policy of the mann-whitney judge.

As Kayenta reads it: unknown fields are ignored, nulls are absent, numbers may stand for strings, and an
unknown word for direction, nanStrategy, outliers or effect size means the default. What Kayenta swallows
without a word is in `notes`; what it refuses, and what we cannot do, is refused with its field.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any, Final, Literal

from domain.base import Frozen
from domain.imports.findings import Finding, Findings
from domain.judging import EffectSize, JudgePolicy, MannWhitney, MetricOptions
from domain.metrics import Direction, MetricKind, MetricSpec

JUDGES: Final = ("NetflixACAJudge-v1.0", "dredd-v1.0")
DEFAULT_TOLERANCE: Final = 0.25
_NAME: Final = re.compile(r"[A-Za-z0-9,_-]*")
_EFFECTS: Final = {
    "allowedIncrease": "allowed_increase",
    "allowedDecrease": "allowed_decrease",
    "criticalIncrease": "critical_increase",
    "criticalDecrease": "critical_decrease",
}


class CanaryConfig(Frozen):
    """A config that was read.

    Attributes:
        specs: the metrics, in the file's order; muted ones are dry-run.
        policy: of the mann-whitney judge.
        queries: metric → its query as written, for a provider; offline nothing reads them.
        templates: named filter templates that queries refer to.
        notes: what was read otherwise than its author may think.
    """

    name: str
    specs: tuple[MetricSpec, ...]
    policy: JudgePolicy
    queries: dict[str, dict[str, Any]]
    templates: dict[str, str]
    notes: tuple[Finding, ...] = ()


def lookup(data: Any, *path: str) -> Any:
    """Walk into nested maps; through a list, collect what its maps have. None where there is nothing."""
    for key in path:
        if isinstance(data, Mapping):
            data = data.get(key)
        elif isinstance(data, Sequence) and not isinstance(data, str):
            data = [each[key] for each in data if isinstance(each, Mapping) and key in each] or None
        else:
            return None
    return data


def read_config(document: Mapping[str, Any]) -> CanaryConfig:
    """A canary config.

    Raises:
        CannotHonour: all fields that are refused, with the reasons.
    """
    reading = _Reading()
    name = _text(document.get("name"))
    reading.check_head(document, name)
    metrics = reading.findings.mappings("metrics", document.get("metrics"))
    reading.check_names(metrics)
    specs, options = [], {}
    for place, metric in enumerate(metrics):
        specs.append(reading.spec(f"metrics[{place}]", metric))
        options[_text(metric.get("name"))] = reading.options(f"metrics[{place}]", metric)
    policy = reading.policy(document, options)
    reading.findings.settle()
    return CanaryConfig(
        name=name,
        specs=tuple(spec for spec in specs if spec is not None),
        policy=policy,
        queries={_text(metric.get("name")): dict(metric.get("query") or {}) for metric in metrics},
        templates={str(key): _text(value) for key, value in (document.get("templates") or {}).items()},
        notes=tuple(reading.notes.found),
    )


class _Reading:
    """One file being read: what is refused, and what is only remarked."""

    def __init__(self) -> None:
        self.findings = Findings()
        self.notes = Findings()

    def check_head(self, document: Mapping[str, Any], name: str) -> None:
        """Kayenta's checks of an upload, and the judge's name."""
        if not name or not _NAME.fullmatch(name):
            self.findings.add("name", "a name of letters, digits, comma, underscore and hyphen is needed")
        if not document.get("applications"):
            self.findings.add("applications", "at least one is needed")
        judge = lookup(document, "judge", "name")
        if judge is not None and judge not in JUDGES:
            self.findings.add("judge.name", f"{judge!r} is not here; known is {JUDGES[0]}")
        if judge == JUDGES[1]:
            self.notes.add("judge.name", f"an old name of {JUDGES[0]}")
        if lookup(document, "judge", "judgeConfigurations"):
            self.notes.add("judge.judgeConfigurations", "Kayenta reads none of it, nor do we")

    def check_names(self, metrics: Sequence[Mapping[str, Any]]) -> None:
        """Each metric has a name of its own."""
        names: list[str] = []
        for place, metric in enumerate(metrics):
            name = _text(metric.get("name"))
            if not name or name in names:
                reason = f"{name!r} is there twice" if name else "a name is needed"
                self.findings.add(f"metrics[{place}].name", reason)
            names.append(name)
        if not metrics:
            self.findings.add("metrics", "no metrics")

    def spec(self, field: str, metric: Mapping[str, Any]) -> MetricSpec | None:
        """What every judge needs to know of the metric."""
        name = _text(metric.get("name"))
        if not name:
            return None
        if metric.get("extensions") and not metric.get("analysisConfigurations"):
            self.notes.add(
                f"{field}.extensions", "an old name of analysisConfigurations that is no longer read"
            )
        canary = f"{field}.analysisConfigurations.canary"
        direction = self._word(
            f"{canary}.direction", _canary(metric, "direction"), tuple(Direction), "either"
        )
        effect = f"{canary}.effectSize.allowedIncrease"
        allowed = self._number(effect, _canary(metric, "effectSize", "allowedIncrease")) or 1.0
        margin = min(10.0, max(0.0, allowed - 1.0))
        return MetricSpec(
            name=name,
            kind=MetricKind.GAUGE,
            direction=Direction(direction),
            margin=margin,
            tolerance=margin + DEFAULT_TOLERANCE,
            groups=tuple(_text(group) for group in metric.get("groups") or ()),
            critical=self._flag(f"{canary}.critical", _canary(metric, "critical")),
            must_have_data=self._flag(f"{canary}.mustHaveData", _canary(metric, "mustHaveData")),
            dry_run=self._flag(f"{canary}.muted", _canary(metric, "muted")),
        )

    def options(self, field: str, metric: Mapping[str, Any]) -> MetricOptions:
        """What only the mann-whitney judge needs to know of it."""
        canary = f"{field}.analysisConfigurations.canary"
        nan = self._word(
            f"{canary}.nanStrategy", _canary(metric, "nanStrategy"), ("remove", "replace"), "remove"
        )
        outliers = self._word(
            f"{canary}.outliers.strategy", _canary(metric, "outliers", "strategy"), ("keep", "remove"), "keep"
        )
        factor = self._number(
            f"{canary}.outliers.outlierFactor", _canary(metric, "outliers", "outlierFactor")
        )
        return MetricOptions(
            nan_strategy=nan,
            outliers=outliers,
            outlier_factor=3.0 if factor is None else factor,
            effect_size=self._effect(f"{canary}.effectSize", metric),
        )

    def policy(self, document: Mapping[str, Any], options: dict[str, MetricOptions]) -> JudgePolicy:
        """The judge's policy: group weights, and the thresholds where no request brings any."""
        raw = lookup(document, "classifier", "groupWeights") or {}
        weights = {
            str(group): weight
            for group, value in raw.items()
            if (weight := self._number(f"classifier.groupWeights.{group}", value)) is not None
        }
        if weights and sum(weights.values()) > 100:
            self.notes.add("classifier.groupWeights", "they add up to more than 100")
        thresholds = self.thresholds("classifier.scoreThresholds", lookup(document, "classifier"))
        if thresholds:
            self.notes.add("classifier.scoreThresholds", "used where no request brings thresholds")
        return JudgePolicy(
            judge="mann-whitney", weights=weights, mann_whitney=MannWhitney(metrics=options, **thresholds)
        )

    def thresholds(self, field: str, holder: Any) -> dict[str, float]:
        """The score thresholds that are there; Kayenta has no defaults."""
        names = {"pass": "pass_score", "marginal": "marginal_score"}
        key = field.rsplit(".", 1)[-1]
        found = {
            ours: self._number(f"{field}.{name}", lookup(holder, key, name)) for name, ours in names.items()
        }
        return {name: value for name, value in found.items() if value is not None}

    def _effect(self, field: str, metric: Mapping[str, Any]) -> EffectSize:
        measure: Any = self._word(
            f"{field}.measure", _canary(metric, "effectSize", "measure"), ("meanRatio", "cles"), "meanRatio"
        )
        numbers = {
            ours: self._number(f"{field}.{name}", _canary(metric, "effectSize", name))
            for name, ours in _EFFECTS.items()
        }
        return EffectSize(measure=measure, **numbers)

    def _word(self, field: str, value: Any, known: Sequence[str], default: str) -> str:
        if value is None or value in known:
            return default if value is None else str(value)
        self.notes.add(field, f"{value!r} is unknown and means {default}, as in Kayenta")
        return default

    def _number(self, field: str, value: Any) -> float | None:
        if value is None:
            return None
        if isinstance(value, bool) or not isinstance(value, int | float):
            self.findings.add(field, f"a number is needed, not {value!r}")
            return None
        return float(value)

    def _flag(self, field: str, value: Any) -> bool:
        if value is not None and not isinstance(value, bool):
            self.findings.add(field, f"true or false is needed, not {value!r}")
        return value is True


def _canary(metric: Mapping[str, Any], *path: str) -> Any:
    return lookup(metric, "analysisConfigurations", "canary", *path)


def _text(value: Any) -> str:
    """A string; a number stands for one, as Jackson reads it."""
    return "" if value is None else str(value)


Classification = Literal["Pass", "Marginal", "Fail"]


def classify(score: float, *, marginal: float, passing: float) -> Classification:
    """The word for a score: both thresholds are reached, not exceeded."""
    if score >= passing:
        return "Pass"
    return "Marginal" if score >= marginal else "Fail"
