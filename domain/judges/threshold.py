"""The threshold judge: canary against concurrent baseline, a relative limit above an absolute floor.

A metric fails when the canary is worse than baseline by more than the allowed increase *and* by more than
the floor, so a zero baseline needs no division. Requests are pooled over a side's nodes. Too few requests
or samples are inconclusive, as is a metric that only the baseline has.
"""

from collections.abc import Sequence

from domain.analysis import Doubt, MetricVerdict, Outcome, Verdict, overall
from domain.judging import Thresholds
from domain.windows import NodeWindow, merge, quantile

LATENCY_QUANTILE = 0.95


def judge(canary: Sequence[NodeWindow], baseline: Sequence[NodeWindow], limits: Thresholds) -> Verdict:
    """The verdict over errors, latency, health, CPU and memory, whichever the nodes report."""
    candidates = (
        _errors(canary, baseline, limits),
        _latency(canary, baseline, limits),
        _health(canary, baseline, limits),
        _cpu(canary, baseline, limits),
        _memory(canary, baseline, limits),
    )
    metrics = tuple(metric for metric in candidates if metric is not None)
    outcome, doubt, reason = overall(metrics)
    return Verdict(
        outcome=outcome,
        doubt=doubt,
        reason=reason,
        metrics=metrics,
        canary_nodes=_reporting(canary),
        baseline_nodes=_reporting(baseline),
        canary_requests=_total(canary, "requests") or 0,
        baseline_requests=_total(baseline, "requests") or 0,
    )


def _errors(
    canary: Sequence[NodeWindow], baseline: Sequence[NodeWindow], limits: Thresholds
) -> MetricVerdict | None:
    if _total(canary, "requests") is None and _total(baseline, "requests") is None:
        return None
    requests = [_total(side, "requests") or 0 for side in (canary, baseline)]
    errors = [_total(side, "errors") or 0 for side in (canary, baseline)]
    doubt = _too_few("errors", "%", requests, limits.minimum_requests)
    if doubt is not None:
        return doubt
    shares = [count / total for count, total in zip(errors, requests, strict=True)]
    verdict = _compare("errors", "%", shares, limits.errors_increase, limits.errors_floor)
    if verdict.outcome is Outcome.FAIL and errors[0] < limits.errors_minimum:
        reason = (
            f"errors: only {errors[0]:.0f} on the canary, fewer than the {limits.errors_minimum} that count"
        )
        return verdict.model_copy(
            update={"outcome": Outcome.INCONCLUSIVE, "doubt": Doubt.UNDERPOWERED, "reason": reason}
        )
    return verdict


def _latency(
    canary: Sequence[NodeWindow], baseline: Sequence[NodeWindow], limits: Thresholds
) -> MetricVerdict | None:
    sides = [merge([node.latency for node in side if node.latency]) for side in (canary, baseline)]
    if sides == [None, None]:
        return None
    doubt = _too_few("latency", "s", [side.count if side else 0 for side in sides], limits.minimum_requests)
    if doubt is not None:
        return doubt
    values = [quantile(side, LATENCY_QUANTILE) or 0.0 for side in sides if side]
    return _compare("latency", "s", values, limits.latency_increase, limits.latency_floor)


def _health(
    canary: Sequence[NodeWindow], baseline: Sequence[NodeWindow], limits: Thresholds
) -> MetricVerdict | None:
    probes = [sum(node.probes for node in side) for side in (canary, baseline)]
    if probes == [0, 0]:
        return None
    doubt = _too_few("unhealthy", "%", probes, limits.minimum_samples)
    if doubt is not None:
        return doubt
    unhealthy = [sum(node.unhealthy for node in side) for side in (canary, baseline)]
    shares = [count / total for count, total in zip(unhealthy, probes, strict=True)]
    return _compare("unhealthy", "%", shares, 0.0, limits.unhealthy_floor)


def _cpu(
    canary: Sequence[NodeWindow], baseline: Sequence[NodeWindow], limits: Thresholds
) -> MetricVerdict | None:
    means = [_means(side, "cpu_cores", limits.minimum_samples) for side in (canary, baseline)]
    return _gauge("cpu", "cores", means, limits.cpu_increase, limits.cpu_floor_cores)


def _memory(
    canary: Sequence[NodeWindow], baseline: Sequence[NodeWindow], limits: Thresholds
) -> MetricVerdict | None:
    means = [_means(side, "memory_bytes", limits.minimum_samples) for side in (canary, baseline)]
    return _gauge("memory", "bytes", means, limits.memory_increase, limits.memory_floor_bytes)


def _gauge(
    name: str, unit: str, means: Sequence[Sequence[float] | None], increase: float, floor: float
) -> MetricVerdict | None:
    """Compare the nodes' means; None when neither side measures the gauge at all."""
    known = [values for values in means if values is not None]
    if not known:
        return None
    if len(known) < len(means) or not all(known):
        return _doubtful(name, unit, Doubt.UNDERPOWERED, f"{name}: too few samples on one side")
    return _compare(name, unit, [sum(values) / len(values) for values in known], increase, floor)


def _compare(name: str, unit: str, values: Sequence[float], increase: float, floor: float) -> MetricVerdict:
    canary, baseline = values
    limit = max(baseline * (1 + increase), baseline + floor)
    failed = canary > limit
    relation = "above" if failed else "within"
    shown = [_show(value, unit) for value in (canary, baseline, limit)]
    return MetricVerdict(
        metric=name,
        outcome=Outcome.FAIL if failed else Outcome.PASS,
        canary=canary,
        baseline=baseline,
        limit=limit,
        unit=unit,
        reason=f"{name} {shown[0]} against {shown[1]}, {relation} the limit of {shown[2]}",
    )


def _too_few(name: str, unit: str, counts: Sequence[float], minimum: int) -> MetricVerdict | None:
    canary, baseline = counts
    if canary == 0 or baseline == 0:
        side = "canary" if canary == 0 else "baseline"
        return _doubtful(name, unit, Doubt.NO_DATA, f"{name}: nothing measured on the {side}")
    if min(counts) < minimum:
        reason = (
            f"{name}: {canary:.0f} against {baseline:.0f} observations, {minimum} are needed on each side"
        )
        return _doubtful(name, unit, Doubt.UNDERPOWERED, reason)
    return None


def _doubtful(name: str, unit: str, doubt: Doubt, reason: str) -> MetricVerdict:
    return MetricVerdict(metric=name, outcome=Outcome.INCONCLUSIVE, doubt=doubt, unit=unit, reason=reason)


def _total(side: Sequence[NodeWindow], field: str) -> float | None:
    values = [value for node in side if (value := getattr(node, field)) is not None]
    return sum(values) if values else None


def _means(side: Sequence[NodeWindow], field: str, minimum_samples: int) -> list[float] | None:
    """The gauge of each node that has enough samples; None when no node measures it."""
    values = [(node.samples, value) for node in side if (value := getattr(node, field)) is not None]
    return [value for samples, value in values if samples >= minimum_samples] if values else None


def _reporting(side: Sequence[NodeWindow]) -> int:
    return sum(node.samples > 0 for node in side)


def _show(value: float, unit: str) -> str:
    if unit == "%":
        return f"{100 * value:.2f} %"
    if unit == "s":
        return f"{1000 * value:.1f} ms"
    if unit == "bytes":
        return f"{value / 1048576:.1f} MiB"
    return f"{value:.3f} {unit}"
