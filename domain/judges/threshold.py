"""The threshold judge: canary against concurrent baseline, a relative limit above an absolute floor.

A metric fails when the canary is worse than baseline by more than the allowed increase *and* by more than the
floor, so a zero baseline needs no division. Everything since the first look is pooled over a side's nodes.
Too few requests or intervals are inconclusive, as is a metric that only one side has. It does not know how
sure it is: it is for comparisons that are too short for the sequential judge, and alarms where that one would
wait.
"""

from dataclasses import dataclass
from itertools import accumulate

from pydantic import JsonValue

from domain.analysis import Doubt, MetricVerdict, Outcome, Verdict, group_scores, overall
from domain.judges.words import amount
from domain.judging import JudgePolicy, JudgeState, Thresholds
from domain.metrics import HUGE, Direction, JudgeLook, MetricKind, MetricLook, MetricSpec, Row, Side
from domain.windows import quantile
from domain.wire import Histogram

LATENCY_QUANTILE = 0.95


def judge(policy: JudgePolicy, state: JudgeState | None, look: JudgeLook) -> tuple[Verdict, JudgeState]:
    """The verdict over all that was measured so far."""
    kept = dict(state.metrics) if state else {}
    judged = []
    for metric in look.metrics:
        name = metric.spec.name
        totals = [
            _Total.recall(kept.get(name, {}), side).plus(metric, measured)
            for side, measured in (("canary", metric.canary), ("baseline", metric.baseline))
        ]
        kept[name] = {"canary": totals[0].keep(), "baseline": totals[1].keep()}
        verdict = _judge_metric(metric, totals[0], totals[1], policy.thresholds)
        if verdict is not None:
            judged.append(verdict)
    metrics = tuple(judged)
    outcome, doubt, reason = overall(metrics)
    if look.baseline_fault:
        outcome, doubt, reason = Outcome.INCONCLUSIVE, Doubt.BASELINE_BAD, look.baseline_fault
    groups, score = group_scores(metrics, policy.weights)
    verdict_now = Verdict(
        outcome=outcome,
        doubt=doubt,
        reason=reason,
        metrics=metrics,
        canary_nodes=look.canary_nodes,
        baseline_nodes=look.baseline_nodes,
        canary_requests=look.canary_requests or 0.0,
        baseline_requests=look.baseline_requests or 0.0,
        looks=look.number,
        judge="threshold",
        groups=groups,
        score=score,
    )
    return verdict_now, JudgeState(judge="threshold", looks=look.number, metrics=kept)


@dataclass(frozen=True, slots=True)
class _Total:
    """One side of one metric, summed up. `number` counts exposure, observations or intervals."""

    amount: float = 0.0
    number: float = 0.0
    bounds: tuple[float, ...] = ()
    buckets: tuple[float, ...] = ()

    @classmethod
    def recall(cls, stored: dict[str, JsonValue], side: str) -> "_Total":
        kept = stored.get(side)
        if not isinstance(kept, list):
            return cls()
        total, number, bounds, buckets = kept
        return cls(_float(total), _float(number), _floats(bounds), _floats(buckets))

    def keep(self) -> JsonValue:
        return [self.amount, self.number, list(self.bounds), list(self.buckets)]

    def plus(self, metric: MetricLook, side: Side) -> "_Total":
        """With one more look. Where a look has other bounds, it starts the distribution anew."""
        if metric.spec.kind in (MetricKind.RATIO, MetricKind.COUNTER):
            pairs = [
                (value, base)
                for row, exposed in zip(side.values, side.exposure, strict=True)
                for value, base in zip(row, exposed, strict=True)
                if _finite(value) and _finite(base) and (base or 0.0) > 1 / HUGE
            ]
            return _Total(
                self.amount + sum(value or 0.0 for value, _ in pairs),
                self.number + sum(base or 0.0 for _, base in pairs),
            )
        if metric.bounds:
            cells = [cell for row in side.buckets for cell in row if cell is not None]
            new = tuple(map(sum, zip(*cells, strict=True))) or (0.0,) * (len(metric.bounds) + 1)
            old = self.buckets if self.bounds == metric.bounds else (0.0,) * len(new)
            both = tuple(a + b for a, b in zip(old, new, strict=True))
            return _Total(0.0, sum(both), metric.bounds, both)
        known = _known(side.values)
        return _Total(self.amount + sum(known), self.number + len(known), self.bounds, self.buckets)

    @property
    def value(self) -> float:
        """The share, the rate, the quantile or the mean."""
        if self.bounds:
            upto = tuple(accumulate(self.buckets))
            shape = Histogram(bounds=self.bounds, counts=upto[:-1], count=self.number, total=0.0)
            return quantile(shape, LATENCY_QUANTILE) or 0.0
        return self.amount / self.number


def _finite(value: float | None) -> bool:
    return value is not None and abs(value) <= HUGE


def _known(rows: tuple[Row, ...]) -> list[float]:
    return [value for row in rows for value in row if value is not None and _finite(value)]


def _float(value: JsonValue) -> float:
    return float(value) if isinstance(value, int | float) else 0.0


def _floats(values: JsonValue) -> tuple[float, ...]:
    return tuple(map(_float, values)) if isinstance(values, list) else ()


@dataclass(frozen=True, slots=True)
class _Limit:
    """What one metric may do: a relative increase, an absolute floor, and how much must be measured."""

    increase: float
    floor: float
    minimum: int
    minimum_events: int = 0


def _limit(spec: MetricSpec, limits: Thresholds) -> _Limit:
    """The policy's limits for the metrics that it names; tolerance and floor of the metric for others."""
    counted, sampled = limits.minimum_requests, limits.minimum_samples
    named = {
        "errors": _Limit(limits.errors_increase, limits.errors_floor, counted, limits.errors_minimum),
        "latency": _Limit(limits.latency_increase, limits.latency_floor, counted),
        "unhealthy": _Limit(0.0, limits.unhealthy_floor, sampled),
        "cpu": _Limit(limits.cpu_increase, limits.cpu_floor_cores, sampled),
        "memory": _Limit(limits.memory_increase, limits.memory_floor_bytes, sampled),
    }
    minimum = counted if spec.kind in (MetricKind.RATIO, MetricKind.LATENCY) else sampled
    return named.get(spec.name, _Limit(spec.tolerance, spec.floor or 0.0, minimum))


def _judge_metric(
    metric: MetricLook, canary: _Total, baseline: _Total, limits: Thresholds
) -> MetricVerdict | None:
    """One metric; None when neither side ever measured it and the policy does not insist."""
    spec, limit = metric.spec, _limit(metric.spec, limits)
    if metric.provider_down:
        return _doubtful(spec, Doubt.PROVIDER_DOWN, f"{spec.name}: {metric.provider_down}")
    if canary.number == 0 and baseline.number == 0:
        silence = _doubtful(spec, Doubt.NO_DATA, f"{spec.name}: measured on neither side")
        return silence if spec.must_have_data else None
    if canary.number == 0 or baseline.number == 0:
        side = "canary" if canary.number == 0 else "baseline"
        return _doubtful(spec, Doubt.NO_DATA, f"{spec.name}: nothing measured on the {side}")
    if min(canary.number, baseline.number) < limit.minimum:
        reason = (
            f"{spec.name}: {canary.number:.0f} against {baseline.number:.0f} observations, "
            f"{limit.minimum} are needed on each side"
        )
        return _doubtful(spec, Doubt.UNDERPOWERED, reason)
    verdict = _compare(spec, canary.value, baseline.value, limit)
    if verdict.outcome is Outcome.FAIL and canary.amount < limit.minimum_events:
        reason = (
            f"{spec.name}: only {canary.amount:.0f} on the canary, "
            f"fewer than the {limit.minimum_events} that count"
        )
        return _doubtful(spec, Doubt.UNDERPOWERED, reason)
    return verdict


def _compare(spec: MetricSpec, canary: float, baseline: float, limit: _Limit) -> MetricVerdict:
    above = max(baseline * (1 + limit.increase), baseline + limit.floor)
    below = min(baseline / (1 + limit.increase), baseline - limit.floor)
    edge = below if spec.direction is Direction.DECREASE else above
    if spec.direction is Direction.EITHER and canary < baseline:
        edge = below
    failed = canary < edge if edge is below else canary > edge
    relation = "beyond" if failed else "within"
    shown = [amount(value, spec.unit) for value in (canary, baseline, edge)]
    return _said(
        spec,
        Outcome.FAIL if failed else Outcome.PASS,
        f"{spec.name} {shown[0]} against {shown[1]}, {relation} the limit of {shown[2]}",
    ).model_copy(
        update={
            "canary": canary,
            "baseline": baseline,
            "limit": edge,
            "estimate": canary / baseline if baseline > 0 else None,
        }
    )


def _doubtful(spec: MetricSpec, doubt: Doubt, reason: str) -> MetricVerdict:
    return _said(spec, Outcome.INCONCLUSIVE, reason).model_copy(update={"doubt": doubt})


def _said(spec: MetricSpec, outcome: Outcome, reason: str) -> MetricVerdict:
    return MetricVerdict(
        metric=spec.name,
        outcome=outcome,
        unit=spec.unit,
        reason=reason,
        groups=spec.groups,
        critical=spec.critical,
        must_have_data=spec.must_have_data,
        dry_run=spec.dry_run,
    )
