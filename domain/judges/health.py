"""The judge of what stands alone: a first install, or a switch of all nodes at once. Absolute limits only.

What was measured must be within its limit; and something must have been measured. Requests that nobody sends
yet are no evidence against a release, so a metric without observations is left out, never passed.
"""

from collections.abc import Sequence

from domain.analysis import Doubt, MetricVerdict, Outcome, Verdict, overall
from domain.health import HealthLimits
from domain.windows import NodeWindow, merge, quantile

LATENCY_QUANTILE = 0.95


def judge(nodes: Sequence[NodeWindow], limits: HealthLimits) -> Verdict:
    """The verdict over health probes, errors and latency, whichever the nodes report."""
    silent = [window.node for window in nodes if window.samples < limits.minimum_samples]
    candidates = (_unhealthy(nodes, limits), _errors(nodes, limits), _latency(nodes, limits))
    metrics = tuple(metric for metric in candidates if metric is not None)
    outcome, doubt, reason = overall(metrics)
    if not metrics:
        reason = "neither health probes nor requests were measured"
    if silent and outcome is Outcome.PASS:
        outcome, doubt = Outcome.INCONCLUSIVE, Doubt.UNDERPOWERED
        reason = f"fewer than {limits.minimum_samples} samples from {', '.join(sorted(silent)[:20])}"
    return Verdict(
        outcome=outcome,
        doubt=doubt,
        reason=reason,
        metrics=metrics,
        canary_nodes=sum(window.samples > 0 for window in nodes),
        canary_requests=sum(window.requests or 0 for window in nodes),
        judge="health",
    )


def _unhealthy(nodes: Sequence[NodeWindow], limits: HealthLimits) -> MetricVerdict | None:
    probes = sum(window.probes for window in nodes)
    if not probes:
        return None
    # The worst node, not the mean: a release that fails on one kind of node is not well.
    shares = {window.node: window.unhealthy / window.probes for window in nodes if window.probes}
    worst = max(shares, key=lambda name: shares[name])
    return _within("unhealthy", "%", shares[worst], limits.unhealthy, f"on {worst}")


def _errors(nodes: Sequence[NodeWindow], limits: HealthLimits) -> MetricVerdict | None:
    requests = sum(window.requests or 0 for window in nodes)
    if requests < limits.minimum_requests:
        return None
    errors = sum(window.errors or 0 for window in nodes)
    return _within("errors", "%", errors / requests, limits.errors, f"of {requests:.0f} requests")


def _latency(nodes: Sequence[NodeWindow], limits: HealthLimits) -> MetricVerdict | None:
    together = merge([window.latency for window in nodes if window.latency])
    if limits.latency is None or together is None or together.count < limits.minimum_requests:
        return None
    value = quantile(together, LATENCY_QUANTILE)
    if value is None:
        return None
    return _within("latency", "s", value, limits.latency, f"at the {LATENCY_QUANTILE:.0%} quantile")


def _within(name: str, unit: str, value: float, limit: float, of: str) -> MetricVerdict:
    failed = value > limit
    scale, shown = (100, "%") if unit == "%" else (1000, "ms")
    return MetricVerdict(
        metric=name,
        outcome=Outcome.FAIL if failed else Outcome.PASS,
        canary=value,
        limit=limit,
        unit=unit,
        reason=f"{name} {scale * value:.3g} {shown} {of}, {'above' if failed else 'within'} the limit of"
        f" {scale * limit:.3g} {shown}",
    )
