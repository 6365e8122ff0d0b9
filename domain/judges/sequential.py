"""The sequential judge: it may look after every interval, and its error rate is that of the whole rollout.

Fail: the evidence that a metric is worse than baseline by more than its margin has reached one over the
metric's share of alpha. Once reached it stays. Pass: the data rule out a regression as large as the tolerance
(or a rate as high as the floor), nothing speaks for a regression that has just begun, and this look brought
data from both sides. Everything else is inconclusive and says why, and what is missing.
"""

from collections.abc import Callable

import numpy as np
from pydantic import JsonValue

from domain.analysis import Doubt, MetricVerdict, Outcome, Verdict, group_scores, overall
from domain.judges import events, gauges, latencies, split
from domain.judges.context import Context, Crews
from domain.judges.decision import decide, undecided
from domain.judges.findings import Finding, both_ways, mirrored
from domain.judging import JudgePolicy, JudgeState
from domain.metrics import Direction, JudgeLook, MetricKind, MetricLook

Stored = dict[str, JsonValue]
Follow = Callable[[MetricLook, Crews, Stored, Context], tuple[Finding, Stored]]


def judge(policy: JudgePolicy, state: JudgeState | None, look: JudgeLook) -> tuple[Verdict, JudgeState]:
    """The verdict after this look, and the state for the next one."""
    before = state or JudgeState(judge="sequential")
    shared = dict(before.shared)
    if "metrics" not in shared:
        shared["metrics"] = max(1, sum(not metric.spec.dry_run for metric in look.metrics))
    context = _context(policy, look, shared)
    shared["seen"] = context.seen
    metrics, kept = [], dict(before.metrics)
    for metric in look.metrics:
        judged, stored = _judge_metric(metric, kept.get(metric.spec.name, {}), context)
        kept[metric.spec.name] = stored
        if judged is not None:
            metrics.append(judged)
    wrong_split, shared["split"] = _split(look, shared, policy)
    verdict = _verdict(policy, look, tuple(metrics), wrong_split)
    return verdict, JudgeState(judge="sequential", looks=look.number, metrics=kept, shared=shared)


def _context(policy: JudgePolicy, look: JudgeLook, shared: Stored) -> Context:
    intervals = max((metric.intervals for metric in look.metrics), default=0)
    seen, number = shared.get("seen", 0), shared["metrics"]
    if not isinstance(seen, int) or not isinstance(number, int):
        raise TypeError("not a state of the sequential judge")
    return Context(
        look=look.number,
        planned=policy.planned_looks,
        step=look.step,
        seen=seen + intervals,
        alpha=policy.alpha / number,
    )


def _split(look: JudgeLook, shared: Stored, policy: JudgePolicy) -> tuple[str, JsonValue]:
    stored = shared.get("split", {})
    return split.follow(look, stored if isinstance(stored, dict) else {}, policy.planned_looks)


def _verdict(
    policy: JudgePolicy, look: JudgeLook, metrics: tuple[MetricVerdict, ...], wrong_split: str
) -> Verdict:
    """All metrics together. A comparison that means nothing is inconclusive whatever the metrics say."""
    outcome, doubt, reason = overall(metrics)
    if look.baseline_fault:
        outcome, doubt, reason = Outcome.INCONCLUSIVE, Doubt.BASELINE_BAD, look.baseline_fault
    elif wrong_split:
        outcome, doubt, reason = Outcome.INCONCLUSIVE, Doubt.SAMPLE_RATIO, wrong_split
    groups, score = group_scores(metrics, policy.weights)
    return Verdict(
        outcome=outcome,
        doubt=doubt,
        reason=reason,
        metrics=metrics,
        canary_nodes=look.canary_nodes,
        baseline_nodes=look.baseline_nodes,
        canary_requests=look.canary_requests or 0.0,
        baseline_requests=look.baseline_requests or 0.0,
        looks=look.number,
        judge="sequential",
        alpha=policy.alpha,
        outliers=tuple(dict.fromkeys(name for metric in metrics for name in metric.outliers)),
        groups=groups,
        score=score,
    )


def _judge_metric(
    metric: MetricLook, stored: Stored, context: Context
) -> tuple[MetricVerdict | None, Stored]:
    """One metric; None when neither side ever measured it and the policy does not insist."""
    spec = metric.spec
    failed = stored.get("failed")
    if isinstance(failed, str) and metric.provider_down:
        return undecided(spec, Outcome.FAIL, None, failed), stored
    if metric.provider_down:
        reason = f"{spec.name}: no answer from the provider: {metric.provider_down}"
        return undecided(spec, Outcome.INCONCLUSIVE, Doubt.PROVIDER_DOWN, reason), stored
    try:
        with np.errstate(over="raise", invalid="raise", divide="raise"):
            finding, kept = _follow(metric, stored, context)
    except (ArithmeticError, ValueError) as error:
        reason = f"{spec.name}: could not be computed: {error}"
        return undecided(spec, Outcome.INCONCLUSIVE, Doubt.ERROR, reason), stored
    if not any(finding.ever) and not spec.must_have_data:
        return None, kept
    verdict = decide(spec, finding, context, failed if isinstance(failed, str) else None)
    if verdict.outcome is Outcome.FAIL:
        kept = {**kept, "failed": verdict.reason}
    return verdict, kept


def _follow(metric: MetricLook, stored: Stored, context: Context) -> tuple[Finding, Stored]:
    """The metric's tests in the direction that is a regression; both of them where either is one."""
    direction = metric.spec.direction
    if direction is Direction.INCREASE:
        return _one_way(metric, stored, context)
    other = metric.model_copy(
        update={
            "canary": metric.baseline,
            "baseline": metric.canary,
            "history_canary": metric.history_baseline,
            "history_baseline": metric.history_canary,
        }
    )
    down, kept_down = _one_way(other, _part(stored, "down"), context)
    if direction is Direction.DECREASE:
        return mirrored(down), {**stored, "down": kept_down}
    up, kept_up = _one_way(metric, _part(stored, "up"), context)
    return both_ways(up, mirrored(down)), {**stored, "up": kept_up, "down": kept_down}


def _part(stored: Stored, name: str) -> Stored:
    part = stored.get(name, {})
    return part if isinstance(part, dict) else {}


def _one_way(metric: MetricLook, stored: Stored, context: Context) -> tuple[Finding, Stored]:
    crews = Crews.of(metric, stored)
    if not (crews.canary.names and crews.baseline.names) and not stored:
        sides = (bool(metric.canary.nodes), bool(metric.baseline.nodes))
        return Finding(measured=(False, False), ever=sides), stored
    if metric.spec.kind is MetricKind.LATENCY and not (metric.bounds or metric.canary.values):
        return Finding(measured=(False, False), ever=(bool(stored), bool(stored))), stored
    finding, kept = _tests(metric)(metric, crews, stored, context)
    return finding, {**stored, **kept, **crews.keep()}


def _tests(metric: MetricLook) -> Follow:
    if metric.spec.kind in (MetricKind.RATIO, MetricKind.COUNTER):
        return events.follow
    if metric.spec.kind is MetricKind.LATENCY and metric.bounds:
        return latencies.follow
    return gauges.follow
