"""The guard window: what watches a release after its deployment has completed."""

from enum import StrEnum
from typing import Final, Self

from pydantic import Field, model_validator

from domain.agent_metrics import AGENT_METRICS, AGENTS_REMEMBER
from domain.base import Frozen, Strict
from domain.health import HealthLimits
from domain.judging import JudgeName, MannWhitney, Thresholds
from domain.metrics import MetricSpec
from domain.names import EnvironmentName, TenantId
from domain.providers import ConditionCheck, PrometheusSource, measured_once, named_once

MOST_LOOKS = 1000  # each leaves about a dozen events in the guard's history

# After completion nothing runs beside the release any more: what follows the traffic would be blamed on it.
GUARDED_METRICS: Final = tuple(spec for spec in AGENT_METRICS if spec.name not in ("cpu", "memory"))


class Against(StrEnum):
    """What a guard's looks are held against; see GuardRule."""

    LIMITS = "limits"
    RECORDED = "recorded"
    BEFORE = "before"


class GuardRule(Strict):
    """How long the nodes are watched after completion, and what is a breach.

    Attributes:
        seconds: how long; interval: how often; window: how far back each look reaches.
        misses: so many failing looks in a row are a breach; then what was completed is taken back.
        against: limits: absolute ones (`health`). recorded: each look's window against what the same nodes
            did in the last window of the release before, recorded with the first look. before: every moment
            of the guard against the one that lies a fixed shift of the clock before it, when no node had
            been changed yet.
        health: what fails a look against limits: probes, errors, latency of the release on its own nodes.
        judge: whose limits hold in a comparison; None is sequential against before, threshold against
            recorded. The sequential judge counts every moment once, so that it needs `before`.
        alpha: sequential: the chance of a breach by a harmless release, over the whole guard.
        metrics: what of the agents' metrics is compared; sources: what of Prometheus's.
        whole: before: the shift is a whole number of these seconds, so that 86400 compares with the same
            time of earlier days. Agents do not remember that long.
        conditions: measured beside the looks; one that fails is a breach. One whose provider does not
            answer is given up and begun anew.
    """

    seconds: float = Field(gt=0, le=30 * 86400)
    interval: float = Field(default=60, gt=0, le=86400)
    window: float = Field(default=120, gt=0, le=86400)
    misses: int = Field(default=2, ge=1, le=20)
    health: HealthLimits = HealthLimits()
    against: Against = Against.LIMITS
    judge: JudgeName | None = None
    alpha: float = Field(default=0.05, gt=0, lt=0.5)
    metrics: tuple[MetricSpec, ...] = Field(default=GUARDED_METRICS, max_length=50)
    sources: tuple[PrometheusSource, ...] = Field(default=(), max_length=20)
    thresholds: Thresholds = Thresholds()
    mann_whitney: MannWhitney = MannWhitney()
    whole: float | None = Field(default=None, gt=0, le=30 * 86400)
    conditions: tuple[ConditionCheck, ...] = Field(default=(), max_length=50)

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.interval > self.seconds:
            raise ValueError("interval must not be longer than seconds")
        if self.seconds / self.interval > MOST_LOOKS:
            raise ValueError(f"that would be more than {MOST_LOOKS} looks: let the interval be longer")
        named_once(self.conditions)
        measured_once(self.metrics, self.sources)
        return self

    @model_validator(mode="after")
    def _can_be_compared(self) -> Self:
        if self.against is Against.LIMITS and self.sources:
            raise ValueError("sources: limits are for the agents' metrics; say against recorded or before")
        if self.against is Against.RECORDED and self.judge == "sequential":
            raise ValueError(
                "judge: windows that overlap are not for the sequential judge; say against before"
            )
        if self.whole is not None and self.against is not Against.BEFORE:
            raise ValueError("whole: goes with against before")
        if self.metrics and self._needed > AGENTS_REMEMBER:
            raise ValueError(
                f"metrics: agents remember {AGENTS_REMEMBER:.0f} s, and {self._needed:.0f} s of the time"
                " before the rollout are needed: let it be shorter, or say metrics [] and sources"
            )
        return self

    @property
    def _needed(self) -> float:
        """Seconds of the time before the rollout that looks are compared with."""
        if self.against is Against.BEFORE:
            return max(self.seconds + self.interval, self.whole or 0.0)
        return self.window if self.against is Against.RECORDED else 0.0

    @property
    def judged_by(self) -> JudgeName:
        """The judge of a comparison."""
        return self.judge or ("sequential" if self.against is Against.BEFORE else "threshold")


class GuardResult(Frozen):
    """How a guard ended: nothing happened, or what was queued to take the release back, or why it was not."""

    breached: bool
    reason: str
    rollback: str | None = None


class Breach(Frozen):
    """A breach: the deployment to be taken back, by which guard and why."""

    tenant: TenantId
    environment: EnvironmentName
    deployment: str
    reason: str


class Returned(Frozen):
    """What came of a breach: the deployment that takes it back; None, with the reason, where none may."""

    deployment: str | None = None
    reason: str = ""
