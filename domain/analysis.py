"""Verdicts: what the judge may say, per metric and overall, and the evidence that it rests on."""

from enum import StrEnum

from domain.base import Frozen


class Outcome(StrEnum):
    """Only pass promotes. Inconclusive never does by itself."""

    PASS = "pass"  # noqa: S105 - a verdict, not a secret
    FAIL = "fail"
    INCONCLUSIVE = "inconclusive"


class Doubt(StrEnum):
    """Why a verdict is inconclusive.

    no-data: a metric that must be judged was not measured, on one side or on both.
    underpowered: measured, but what the data still allow is more than the tolerance.
    provider-down: where the numbers come from does not answer; nothing is known about the release.
    baseline-bad: the baseline cannot be compared with (not fresh, overlapping windows, sick itself).
    sample-ratio: the traffic is not split as intended, so that the sides do different work.
    error: the judge could not compute; never a pass.
    """

    NO_DATA = "no-data"
    UNDERPOWERED = "underpowered"
    PROVIDER_DOWN = "provider-down"
    BASELINE_BAD = "baseline-bad"
    SAMPLE_RATIO = "sample-ratio"
    ERROR = "error"


class Interval(Frozen):
    """A confidence interval that holds at every look at once. None is "no bound yet".

    `level` is 0.99 for 99 %.
    """

    low: float | None = None
    high: float | None = None
    level: float


class Certificate(Frozen):
    """What the data rule out, at the verdict's level.

    Attributes:
        largest: the largest relative regression that the data still allow: 0.8 is "at most 1.8 × baseline";
            None while they allow any.
        tolerance: what the policy allows; `largest` below it is a pass.
        ceiling: the largest share or rate that the data still allow on the canary, in the metric's unit,
            where a floor is set; below the floor it is a pass whatever the ratio.
        floor: that floor.
        holds: whether one of the two is met.
    """

    largest: float | None = None
    tolerance: float
    ceiling: float | None = None
    floor: float | None = None
    level: float
    holds: bool = False


class Needs(Frozen):
    """What is missing to a decision if all goes on as it does; None where that cannot be told."""

    events: float | None = None
    minutes: float | None = None


class MetricVerdict(Frozen):
    """One metric: both sides' values, the limit that applied, and the reason in words.

    Attributes:
        estimate: canary over baseline, as far as the data tell; None without a baseline above zero.
        ratio: confidence interval of canary over baseline.
        difference: confidence interval of canary minus baseline, in the metric's unit.
        evidence: "x : 1" for a regression beyond the margin; `needed` of it is a fail.
        certificate: what a pass rests on.
        needs: what an underpowered metric lacks.
        outliers: nodes that are out of line with their own side, by name.
        weight: the metric's share of the overall score of its groups.
        dry_run: shown, but without a say.
    """

    metric: str
    outcome: Outcome
    doubt: Doubt | None = None
    canary: float | None = None
    baseline: float | None = None
    limit: float | None = None
    unit: str
    reason: str
    estimate: float | None = None
    ratio: Interval | None = None
    difference: Interval | None = None
    evidence: float | None = None
    needed: float | None = None
    certificate: Certificate | None = None
    needs: Needs | None = None
    outliers: tuple[str, ...] = ()
    groups: tuple[str, ...] = ()
    critical: bool = False
    must_have_data: bool = False
    dry_run: bool = False
    classification: str | None = None  # the mann-whitney judge's own word: Pass, High, Low, Nodata, Error


class GroupScore(Frozen):
    """How one group of metrics fared: 100 is all passed. `weight` is a share of 100."""

    name: str
    score: float
    weight: float


class Verdict(Frozen):
    """The judge's word over all metrics, with the evidence it rests on.

    `score` and `groups` are for people who think in scores; only the mann-whitney judge decides by them.
    """

    outcome: Outcome
    doubt: Doubt | None = None
    reason: str
    metrics: tuple[MetricVerdict, ...] = ()
    canary_nodes: int = 0
    baseline_nodes: int = 0
    canary_requests: float = 0
    baseline_requests: float = 0
    looks: int = 1
    judge: str = "threshold"
    alpha: float | None = None
    outliers: tuple[str, ...] = ()
    groups: tuple[GroupScore, ...] = ()
    score: float | None = None


# An inconclusive verdict names the doubt that must be cleared first.
DOUBTS_BY_WEIGHT = (
    Doubt.ERROR,
    Doubt.SAMPLE_RATIO,
    Doubt.BASELINE_BAD,
    Doubt.PROVIDER_DOWN,
    Doubt.NO_DATA,
    Doubt.UNDERPOWERED,
)


def overall(metrics: tuple[MetricVerdict, ...]) -> tuple[Outcome, Doubt | None, str]:
    """The worst metric decides; without any metric that has a say there is no data."""
    judged = [metric for metric in metrics if not metric.dry_run]
    if not judged:
        return Outcome.INCONCLUSIVE, Doubt.NO_DATA, "no metric was measured on both sides"
    for outcome in (Outcome.FAIL, Outcome.INCONCLUSIVE):
        named = [metric for metric in judged if metric.outcome is outcome]
        if named:
            doubts = [metric.doubt for metric in named]
            doubt = next((each for each in DOUBTS_BY_WEIGHT if each in doubts), None)
            return outcome, doubt, "; ".join(metric.reason for metric in named)
    return Outcome.PASS, None, "; ".join(metric.reason for metric in judged)


def group_scores(
    metrics: tuple[MetricVerdict, ...], weights: dict[str, float]
) -> tuple[tuple[GroupScore, ...], float | None]:
    """Each group's share of passed metrics and the weighted sum; (), None without groups.

    Groups without a weight share what the weights leave of 100 equally. Metrics without a decision count
    as not passed: a score never hides a doubt.
    """
    judged = [metric for metric in metrics if not metric.dry_run]
    names = list(dict.fromkeys(name for metric in judged for name in metric.groups))
    if not names:
        return (), None
    left = 100.0 - sum(weights.values())
    unweighted = sum(name not in weights for name in names)
    scores = []
    for name in names:
        members = [metric.outcome for metric in judged if name in metric.groups]
        weight = weights.get(name, max(0.0, left) / max(1, unweighted))
        scores.append(
            GroupScore(name=name, score=100.0 * members.count(Outcome.PASS) / len(members), weight=weight)
        )
    return tuple(scores), round(sum(each.score * each.weight for each in scores) / 100.0, 2)
