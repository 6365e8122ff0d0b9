"""Kayenta's execution requests, plain and standalone, as they are: which window is judged when."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from pydantic import Field, ValidationError

from domain.base import Frozen
from domain.imports.findings import Findings
from domain.imports.kayenta import CanaryConfig, lookup
from domain.judging import JudgePolicy
from domain.policy import AnalysisRule

MINUTE = 60.0


class Window(Frozen):
    """What one judgement reads, in minutes from the start of the analysis."""

    start: float
    end: float


class ExecutionRequest(Frozen):
    """A request that was read. Durations are minutes, as in the file; `start` and `end` are ISO times.

    A plain request has no lifetime: it is judged once, over the window of its scopes.
    """

    pass_score: float | None = None
    marginal_score: float | None = None
    lifetime: float | None = None
    begin_after: float = 0
    lookback: float = 0
    interval: float | None = None
    control_offset: float = 0
    start: str | None = None
    end: str | None = None
    step: float = Field(default=60, gt=0)
    scope_names: tuple[str, ...] = ()

    def lifetime_minutes(self) -> float:
        """How long the whole takes: from start to end where both are given.

        Raises:
            CannotHonour: neither a lifetime nor start and end.
        """
        if self.start is not None and self.end is not None:
            begin, end = (datetime.fromisoformat(text) for text in (self.start, self.end))
            return (end - begin).total_seconds() / MINUTE
        if self.lifetime is None:
            findings = Findings()
            findings.add("lifetimeDurationMins", "needed, unless startTimeIso and endTimeIso are given")
            findings.settle()
        return float(self.lifetime or 0)

    def window(self, judgement: int) -> Window:
        """What the judgement with this number (from 1) reads of the experiment.

        It grows with each judgement, or slides where there is a lookback. With an explicit end nothing is
        waited for, so that the warm-up is not added.
        """
        interval = self.interval if self.interval is not None else self.lifetime_minutes()
        begin = 0.0 if self.end is not None else self.begin_after
        end = begin + judgement * interval
        return Window(start=end - self.lookback if self.lookback > 0 else begin, end=end)

    def control_window(self, judgement: int) -> Window:
        """The same for the control, which may lie in the past."""
        window = self.window(judgement)
        return Window(start=window.start - self.control_offset, end=window.end - self.control_offset)

    def policy(self, config: CanaryConfig) -> JudgePolicy:
        """The config's policy with this request's thresholds."""
        given = {"pass_score": self.pass_score, "marginal_score": self.marginal_score}
        update = {name: value for name, value in given.items() if value is not None}
        return config.policy.model_copy(
            update={"mann_whitney": config.policy.mann_whitney.model_copy(update=update)}
        )

    def passes(self, score: float) -> bool:
        """Whether a final score lets the release through: above marginal, and at least pass."""
        above = self.marginal_score is None or score > self.marginal_score
        return above and (self.pass_score is None or score >= self.pass_score)

    def rule(self) -> AnalysisRule:
        """The request as the analysis rule of an environment's policy.

        Raises:
            CannotHonour: windows that slide, or a control in the past: a baseline that is not fresh.
        """
        findings = Findings()
        if self.lookback > 0:
            findings.add("lookbackMins", "a look reads what is new since the last one; windows do not slide")
        if self.control_offset > 0:
            findings.add("scopes[0].controlOffsetInMinutes", "a control in the past is no fresh baseline")
        findings.settle()
        lifetime = self.lifetime_minutes() * MINUTE
        interval = self.interval * MINUTE if self.interval else lifetime
        return AnalysisRule(
            duration=lifetime, interval=min(interval, lifetime), warm_up=self.begin_after * MINUTE
        )


def read_request(document: Mapping[str, Any]) -> ExecutionRequest:
    """A plain or a standalone execution request; `scopes` is a map in the one and a list in the other.

    Raises:
        CannotHonour: all fields that are refused, with the reasons.
    """
    findings = Findings()
    scopes = document.get("scopes")
    standalone = isinstance(scopes, list)
    first: Mapping[str, Any] = {}
    names: tuple[str, ...] = ()
    if isinstance(scopes, list):
        listed = findings.mappings("scopes", scopes)
        first = listed[0] if listed else {}
        names = tuple(str(each.get("scopeName") or "default") for each in listed)
    elif isinstance(scopes, Mapping):
        names = tuple(str(name) for name in scopes)
        first = lookup(scopes, names[0], "experimentScope") or {} if names else {}
    if not names:
        findings.add("scopes", "at least one is needed")
    times = ("startTimeIso", "endTimeIso") if standalone else ("start", "end")
    place = "scopes[0]" if standalone else f"scopes.{names[0] if names else 'default'}.experimentScope"
    values = {
        "start": _time(f"{place}.{times[0]}", first.get(times[0]), findings),
        "end": _time(f"{place}.{times[1]}", first.get(times[1]), findings),
        "scope_names": names,
    } | _numbers(document, first, place, findings)
    findings.settle()
    try:
        return ExecutionRequest(**values)
    except ValidationError as error:
        for each in error.errors():
            findings.add(f"{place}.{each['loc'][0]}", each["msg"])
        findings.settle()
        raise


def _numbers(
    document: Mapping[str, Any], scope: Mapping[str, Any], place: str, findings: Findings
) -> dict[str, float]:
    """The fields that are numbers and there; Kayenta takes numbers in strings for durations."""
    sources = {
        "lifetime": ("lifetimeDurationMins", document.get("lifetimeDurationMins")),
        "begin_after": ("beginAfterMins", document.get("beginAfterMins")),
        "lookback": ("lookbackMins", document.get("lookbackMins")),
        "interval": ("analysisIntervalMins", document.get("analysisIntervalMins")),
        "pass_score": ("thresholds.pass", lookup(document, "thresholds", "pass")),
        "marginal_score": ("thresholds.marginal", lookup(document, "thresholds", "marginal")),
        "control_offset": (f"{place}.controlOffsetInMinutes", scope.get("controlOffsetInMinutes")),
        "step": (f"{place}.step", scope.get("step")),
    }
    found = {}
    for name, (field, value) in sources.items():
        if value is None:
            continue
        try:
            found[name] = float(value)
        except (TypeError, ValueError):
            findings.add(field, f"a number is needed, not {value!r}")
            continue
        if found[name] < 0:
            findings.add(field, "it must not be negative")
    return found


def _time(field: str, value: Any, findings: Findings) -> str | None:
    if value is None:
        return None
    try:
        return datetime.fromisoformat(str(value)).isoformat()
    except ValueError:
        findings.add(field, f"{value!r} is no ISO 8601 time")
        return None
