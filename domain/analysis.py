"""Verdicts: what the judge may say, per metric and overall."""

from enum import StrEnum

from domain.base import Frozen


class Outcome(StrEnum):
    """Only pass promotes. Inconclusive never does by itself."""

    PASS = "pass"  # noqa: S105 - a verdict, not a secret
    FAIL = "fail"
    INCONCLUSIVE = "inconclusive"


class Doubt(StrEnum):
    """Why a verdict is inconclusive."""

    NO_DATA = "no-data"
    UNDERPOWERED = "underpowered"
    PROVIDER_DOWN = "provider-down"


class MetricVerdict(Frozen):
    """One metric: both sides' values, the limit that applied, and the reason in words."""

    metric: str
    outcome: Outcome
    doubt: Doubt | None = None
    canary: float | None = None
    baseline: float | None = None
    limit: float | None = None
    unit: str
    reason: str


class Verdict(Frozen):
    """The judge's word over all metrics, with the evidence it rests on."""

    outcome: Outcome
    doubt: Doubt | None = None
    reason: str
    metrics: tuple[MetricVerdict, ...] = ()
    canary_nodes: int = 0
    baseline_nodes: int = 0
    canary_requests: float = 0
    baseline_requests: float = 0
    looks: int = 1


def overall(metrics: tuple[MetricVerdict, ...]) -> tuple[Outcome, Doubt | None, str]:
    """The worst metric decides; without any judged metric there is no data."""
    if not metrics:
        return Outcome.INCONCLUSIVE, Doubt.NO_DATA, "no metric was measured on both sides"
    for outcome in (Outcome.FAIL, Outcome.INCONCLUSIVE):
        named = [metric for metric in metrics if metric.outcome is outcome]
        if named:
            return outcome, named[0].doubt, "; ".join(metric.reason for metric in named)
    return Outcome.PASS, None, "; ".join(metric.reason for metric in metrics)
