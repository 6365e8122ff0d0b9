"""A run over several condition metrics: what is due when, and the worst metric's phase for the whole."""

import re
from collections.abc import Mapping, Sequence
from typing import Final

from pydantic import Field

from domain.base import Frozen
from domain.conditions.metric import ERROR_RETRY_SECONDS, OURS, ConditionMetric, MetricPhase, Semantics
from domain.conditions.progress import MetricProgress, assess, over_limit
from domain.errors import InvalidInput

RUN_TERMINATED = "Run Terminated"
_ASCENDING: Final = (
    MetricPhase.SUCCESSFUL,
    MetricPhase.RUNNING,
    MetricPhase.PENDING,
    MetricPhase.INCONCLUSIVE,
    MetricPhase.ERROR,
    MetricPhase.FAILED,
)


class Run(Frozen):
    """Where a run stands: its phase and why, every metric, and the count of phases of dry-run metrics."""

    phase: MetricPhase
    message: str = ""
    metrics: tuple[MetricProgress, ...] = ()
    dry_run: dict[str, int] = Field(default_factory=dict)


def worse(phase: MetricPhase, than: MetricPhase) -> bool:
    """Whether `phase` is worse news than `than`."""
    return _ASCENDING.index(phase) > _ASCENDING.index(than)


def worst(phases: Sequence[MetricPhase]) -> MetricPhase:
    """The worst of them; successful when there are none."""
    return max(phases, key=_ASCENDING.index, default=MetricPhase.SUCCESSFUL)


def matching(metrics: Sequence[str], rules: Sequence[str], field: str = "dryRun") -> tuple[str, ...]:
    """The metric names that a list of regular expressions picks, each matched anywhere in the name.

    Raises:
        InvalidInput: a rule that is no regular expression or picks nothing.
    """
    picked: list[str] = []
    for place, rule in enumerate(rules):
        try:
            found = [name for name in metrics if re.search(rule, name)]
        except re.error as error:
            raise InvalidInput(f"{field}[{place}]: {error}", field=f"{field}[{place}]") from error
        if not found:
            raise InvalidInput(
                f"{field}[{place}]: Rule didn't match any metric name(s)", field=f"{field}[{place}]"
            )
        picked += found
    return tuple(dict.fromkeys(picked))


def is_terminating(metrics: Sequence[MetricProgress], dry_run: Sequence[str], *, terminate: bool) -> bool:
    """Whether the run is to end: somebody said so, or a metric that counts ended badly."""
    bad = (MetricPhase.FAILED, MetricPhase.ERROR, MetricPhase.INCONCLUSIVE)
    return terminate or any(each.phase in bad for each in metrics if each.name not in dry_run)


def due_at(metric: ConditionMetric, progress: MetricProgress | None, started: float | None) -> float | None:
    """When the metric is to be measured next (seconds since the epoch); None when it is not.

    0 means at once. A measurement in flight is asked again at its own `resume_at`.
    """
    if progress is not None and progress.phase.completed:
        return None
    last = progress.last if progress is not None else None
    if progress is None or last is None:
        if metric.initial_delay == 0:
            return started or 0.0
        return None if started is None else started + metric.initial_delay
    if last.finished is None:
        return last.resume_at or 0.0
    if last.phase is MetricPhase.ERROR:
        return last.finished + ERROR_RETRY_SECONDS
    if metric.measurements_needed is not None and progress.count >= metric.measurements_needed:
        return None
    return last.finished + metric.interval if metric.interval is not None else None


def due(
    metrics: Sequence[ConditionMetric],
    progress: Mapping[str, MetricProgress],
    *,
    now: float,
    started: float | None,
) -> tuple[ConditionMetric, ...]:
    """The metrics to measure now."""
    times = [(metric, due_at(metric, progress.get(metric.name), started)) for metric in metrics]
    return tuple(metric for metric, at in times if at is not None and at <= now)


def next_due(
    metrics: Sequence[ConditionMetric], progress: Mapping[str, MetricProgress], *, started: float | None
) -> float | None:
    """When the first of them is due; None when nothing more is to be measured."""
    times = [due_at(metric, progress.get(metric.name), started) for metric in metrics]
    return min((at for at in times if at is not None), default=None)


def assess_run(
    metrics: Sequence[ConditionMetric],
    progress: Mapping[str, MetricProgress],
    *,
    terminate: bool = False,
    semantics: Semantics = OURS,
) -> Run:
    """Assess every metric, then the run: running until all are completed, then the worst that counts."""
    known = [progress.get(metric.name, MetricProgress(name=metric.name)) for metric in metrics]
    dry = [metric.name for metric in metrics if metric.dry_run]
    terminating = is_terminating(known, dry, terminate=terminate)
    assessed = []
    for metric, each in zip(metrics, known, strict=True):
        phase, message = assess(metric, each, terminating=terminating, semantics=semantics)
        changed = phase is not each.phase
        update = {"phase": phase, "message": each.message or message} if changed else {}
        assessed.append(each.model_copy(update=update))
    counting = [each for each in assessed if each.name not in dry]
    summary = {"count": len(dry)} | {
        phase.value: sum(each.phase is phase and each.name in dry for each in assessed)
        for phase in (
            MetricPhase.SUCCESSFUL,
            MetricPhase.FAILED,
            MetricPhase.INCONCLUSIVE,
            MetricPhase.ERROR,
        )
    }
    if not all(each.phase.completed for each in assessed):
        return Run(phase=MetricPhase.RUNNING, metrics=tuple(assessed), dry_run=summary)
    phase = worst([each.phase for each in counting])
    unmeasured = terminate and not any(each.measurements for each in known)
    message = RUN_TERMINATED if unmeasured else _message(metrics, counting, phase, semantics)
    return Run(phase=phase, message=message, metrics=tuple(assessed), dry_run=summary)


def _message(
    metrics: Sequence[ConditionMetric],
    counting: Sequence[MetricProgress],
    phase: MetricPhase,
    semantics: Semantics,
) -> str:
    """Why the run ended as badly as it did: the first metric that did, and the limit that it is over."""
    if phase is MetricPhase.SUCCESSFUL:
        return ""
    by_name = {metric.name: metric for metric in metrics}
    for each in counting:
        over = over_limit(by_name[each.name], each, semantics)
        if each.phase is not phase or over is None:
            continue
        said = f': "{each.message}"' if each.message and each.message != over[1] else ""
        return f'Metric "{each.name}" assessed {phase.capitalize()} due to {over[1]}{said}'
    return ""
