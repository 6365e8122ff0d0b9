"""A metric's way through its measurements: counters, and the phase that follows from them."""

from domain.base import Frozen
from domain.conditions.measurement import RETAINED, Measurement
from domain.conditions.metric import OURS, ConditionMetric, MetricPhase, Semantics

TERMINATED = "Metric Terminated"


class MetricProgress(Frozen):
    """What became of one metric so far: O(1) counters and the last few measurements."""

    name: str
    phase: MetricPhase = MetricPhase.PENDING
    message: str = ""
    count: int = 0
    successful: int = 0
    failed: int = 0
    inconclusive: int = 0
    error: int = 0
    consecutive_error: int = 0
    consecutive_success: int = 0
    measurements: tuple[Measurement, ...] = ()

    @property
    def last(self) -> Measurement | None:
        """The latest measurement."""
        return self.measurements[-1] if self.measurements else None

    @property
    def in_flight(self) -> bool:
        """Whether the latest measurement has no result yet."""
        return self.last is not None and not self.last.phase.completed


def counted(progress: MetricProgress, measurement: Measurement, retention: int = RETAINED) -> MetricProgress:
    """The progress with one more measurement; it takes the place of one in flight.

    An error is no measurement: it does not add to `count`, and is retried.
    """
    before = progress.measurements[:-1] if progress.in_flight else progress.measurements
    kept = (*before, measurement)[-retention:]
    phase = measurement.phase
    if not phase.completed:
        return progress.model_copy(update={"measurements": kept})
    return progress.model_copy(
        update={
            "measurements": kept,
            "count": progress.count + (phase is not MetricPhase.ERROR),
            phase.value: getattr(progress, phase.value) + 1,
            "consecutive_error": progress.consecutive_error + 1 if phase is MetricPhase.ERROR else 0,
            "consecutive_success": progress.consecutive_success + 1 if phase is MetricPhase.SUCCESSFUL else 0,
        }
    )


def terminated(progress: MetricProgress, phase: MetricPhase, at: float) -> MetricProgress:
    """End a measurement in flight with the phase that its provider gives when told to stop."""
    if progress.last is None or not progress.in_flight:
        return progress
    ended = progress.last.model_copy(update={"phase": phase, "finished": at, "message": TERMINATED})
    return counted(progress, ended).model_copy(update={"message": TERMINATED})


def over_limit(
    metric: ConditionMetric, progress: MetricProgress, semantics: Semantics = OURS
) -> tuple[MetricPhase, str] | None:
    """The limit that the metric is over, in words; error before inconclusive before failed."""
    if progress.consecutive_error > metric.consecutive_error_limit:
        count, limit = progress.consecutive_error, metric.consecutive_error_limit
        return MetricPhase.ERROR, f"consecutiveErrors ({count}) > consecutiveErrorLimit ({limit})"
    if progress.error > metric.error_limit and not semantics.errors_unbounded:
        return MetricPhase.ERROR, f"errors ({progress.error}) > errorLimit ({metric.error_limit})"
    if progress.inconclusive > metric.inconclusive_limit:
        limit = metric.inconclusive_limit
        return (
            MetricPhase.INCONCLUSIVE,
            f"inconclusive ({progress.inconclusive}) > inconclusiveLimit ({limit})",
        )
    if progress.failed > metric.failure_limit >= 0:
        return MetricPhase.FAILED, f"failed ({progress.failed}) > failureLimit ({metric.failure_limit})"
    return None


def assess(
    metric: ConditionMetric, progress: MetricProgress, *, terminating: bool, semantics: Semantics = OURS
) -> tuple[MetricPhase, str]:
    """Where the metric stands, and why: the first that applies. A completed metric stays as it is."""
    if progress.phase.completed:
        return progress.phase, progress.message
    if progress.in_flight:
        return MetricPhase.RUNNING, ""
    decided = _decided(metric, progress, semantics) if progress.measurements else None
    if decided is not None:
        return decided
    if terminating:
        return _successful(metric, progress, "terminated", semantics)
    return MetricPhase.RUNNING if progress.measurements else MetricPhase.PENDING, ""


def _decided(
    metric: ConditionMetric, progress: MetricProgress, semantics: Semantics
) -> tuple[MetricPhase, str] | None:
    """What the counters alone decide; None while they are open."""
    over = over_limit(metric, progress, semantics)
    if over is not None:
        return over
    if 0 < metric.consecutive_success_limit <= progress.consecutive_success:
        return _successful(metric, progress, "", semantics)
    if metric.measurements_needed is not None and progress.count >= metric.measurements_needed:
        return _used_up(metric, progress, semantics)
    return None


def _used_up(
    metric: ConditionMetric, progress: MetricProgress, semantics: Semantics
) -> tuple[MetricPhase, str]:
    """All measurements were taken; without the wanted successes in a row that is no success."""
    if metric.consecutive_success_limit == 0:
        return _successful(metric, progress, "", semantics)
    reason = (
        f"consecutiveSuccessLimit ({metric.consecutive_success_limit}) was not reached "
        f"in {progress.count} measurements"
    )
    return MetricPhase.FAILED if metric.failure_limit == -1 else MetricPhase.INCONCLUSIVE, reason


def _successful(
    metric: ConditionMetric, progress: MetricProgress, message: str, semantics: Semantics
) -> tuple[MetricPhase, str]:
    """Successful, if it was measured often enough to say so."""
    if progress.successful >= metric.minimum_successes or semantics.unmeasured_succeeds:
        return MetricPhase.SUCCESSFUL, message
    reason = f"{progress.successful} successful measurements, {metric.minimum_successes} needed"
    return MetricPhase.INCONCLUSIVE, reason
