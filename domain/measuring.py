"""Ordering measurements, and what a run of condition checks comes to in the judge's words."""

from collections.abc import Mapping, Sequence

from pydantic import Field

from domain.analysis import Doubt, MetricVerdict, Outcome, Verdict, overall
from domain.base import Frozen
from domain.conditions.measurement import Measurement
from domain.conditions.metric import ConditionMetric, MetricPhase
from domain.conditions.progress import MetricProgress
from domain.conditions.run import Run
from domain.messages import AnalysisInput
from domain.providers import Circumstances, CommandProvider, ConditionCheck

COMMAND_SUCCEEDED = "result.exit == 0"


class MeasureOrder(Frozen):
    """Measure one check now. `number` tells the attempts apart; `outages` were in a row before it."""

    analysis: AnalysisInput
    check: ConditionCheck
    number: int
    outages: int = 0


class Outage(Frozen):
    """A check whose provider does not answer: it is held, and tried again. `wave` None: in the background."""

    check: str
    wave: int | None
    message: str


class Measured(Frozen):
    """A measurement, or why the provider did not answer: then nothing was measured."""

    measurement: Measurement | None = None
    outage: str = ""


class Conclusion(Frozen):
    """An analysis's last word with its condition checks, to be kept after its last look."""

    analysis: AnalysisInput
    verdict: Verdict


class CheckProgress(Frozen):
    """One check's way: its metric's progress, and the provider's outages in a row."""

    metric: MetricProgress
    outages: int = 0
    outage: str = ""
    outage_at: float | None = None


HISTORY_ROOM = 1000  # events


class AnalysisSoFar(Frozen):
    """Where an analysis stands when its workflow continues as new.

    Attributes:
        room: so many events, and it continues as new.
        began: when the looks began, or a background analysis, in seconds since the epoch; None before that.
        next_look: when the next look is due; None is an interval from now.
        extensions: how many of the rule's extensions have begun; judged: there is no further look.
        verdict: of the last look.
        outage_until: until when it waits for a provider that is down, since the epoch.
        back_until: how long it looks, from its beginning, after such a provider was back; 0 is not at all.
        checks: the condition checks by name; measuring: since when; measured: how often.
        concluding: the rollout that a background analysis watches is through.
    """

    room: int = HISTORY_ROOM
    began: float | None = None
    next_look: float | None = None
    extensions: int = 0
    judged: bool = False
    verdict: Verdict | None = None
    outage_until: float | None = None
    back_until: float = 0.0
    checks: dict[str, CheckProgress] = Field(default_factory=dict)
    measuring: float | None = None
    measured: int = 0
    concluding: bool = False


class AnalysisRun(AnalysisInput):
    """What one run of an analysis's workflow begins with.

    Without `so_far` it never continues as new: analyses that began before they could are under way.
    """

    so_far: AnalysisSoFar | None = None


def judged_metric(check: ConditionCheck) -> ConditionMetric:
    """The metric with the conditions that hold: a command without any means its exit code."""
    metric = check.metric
    unconditional = metric.success_condition is None and metric.failure_condition is None
    if unconditional and isinstance(check.provider, CommandProvider):
        return metric.model_copy(update={"success_condition": COMMAND_SUCCEEDED})
    return metric


def circumstances(request: AnalysisInput) -> Circumstances:
    """What is known of an analysis when it measures."""
    return Circumstances(
        module=request.module,
        version=request.canary_version,
        environment=request.environment,
        deployment=request.deployment,
        canary=request.canary,
        baseline=request.baseline,
        interval=request.rule.interval,
    )


_OUTCOMES: Mapping[MetricPhase, tuple[Outcome, Doubt | None]] = {
    MetricPhase.SUCCESSFUL: (Outcome.PASS, None),
    MetricPhase.FAILED: (Outcome.FAIL, None),
    MetricPhase.ERROR: (Outcome.INCONCLUSIVE, Doubt.ERROR),
    MetricPhase.INCONCLUSIVE: (Outcome.INCONCLUSIVE, Doubt.UNDERPOWERED),
    MetricPhase.RUNNING: (Outcome.INCONCLUSIVE, Doubt.UNDERPOWERED),
    MetricPhase.PENDING: (Outcome.INCONCLUSIVE, Doubt.NO_DATA),
}


def condition_verdicts(
    checks: Sequence[ConditionCheck], run: Run, progress: Mapping[str, CheckProgress]
) -> tuple[MetricVerdict, ...]:
    """Each check as a metric of the verdict, with its last value and its reason."""
    by_name = {each.name: each for each in run.metrics}
    return tuple(
        _verdict(check, by_name[check.metric.name], progress.get(check.metric.name)) for check in checks
    )


def _verdict(check: ConditionCheck, metric: MetricProgress, progress: CheckProgress | None) -> MetricVerdict:
    outcome, doubt = _OUTCOMES[metric.phase]
    reason = f"{metric.name}: {_words(metric)}"
    if outcome is Outcome.INCONCLUSIVE and progress is not None and progress.outages:
        doubt = Doubt.PROVIDER_DOWN
        reason = f"{metric.name}: {check.provider.kind} does not answer: {progress.outage}"
    elif doubt is Doubt.UNDERPOWERED and metric.successful + metric.failed == 0:
        doubt = Doubt.NO_DATA
    return MetricVerdict(
        metric=metric.name,
        outcome=outcome,
        doubt=doubt,
        unit="",
        reason=reason,
        dry_run=check.metric.dry_run,
        must_have_data=True,
    )


def _words(metric: MetricProgress) -> str:
    last = metric.last
    shown = f", last {last.value}" if last is not None and last.value else ""
    why = metric.message or (last.message if last is not None else "")
    counts = f"{metric.successful} of {metric.count} measurements successful"
    said = f"{counts}{shown}"
    return f"{why} ({said})" if why else said


def with_conditions(verdict: Verdict | None, conditions: tuple[MetricVerdict, ...]) -> Verdict:
    """The judge's verdict and the condition checks as one: the worse of the two decides.

    Without a judge's verdict the conditions decide alone.
    """
    outcome, doubt, reason = overall(conditions)
    if verdict is None:
        return Verdict(outcome=outcome, doubt=doubt, reason=reason, metrics=conditions, judge="conditions")
    ranks = (Outcome.PASS, Outcome.INCONCLUSIVE, Outcome.FAIL)
    together = {"metrics": (*verdict.metrics, *conditions)}
    counting = any(not each.dry_run for each in conditions)
    if not counting or ranks.index(outcome) < ranks.index(verdict.outcome):
        return verdict.model_copy(update=together)
    if outcome is verdict.outcome:
        return verdict.model_copy(update={**together, "reason": f"{verdict.reason}; {reason}"})
    return verdict.model_copy(update={**together, "outcome": outcome, "doubt": doubt, "reason": reason})
