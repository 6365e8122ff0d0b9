"""The mann-whitney judge: Kayenta's NetflixACAJudge-v1.0 over the growing window, a switch per known defect.

With all switches of `FailOpen` on it is equal to Kayenta. With a switch off (the default) the behaviour is
ours, and never more lenient. It has no error rate over repeated looks: that is what the sequential judge is
for. Its state are the series themselves, one pair per metric (or per pair of series of the same name), since
ranks cannot be added up.
"""

from collections.abc import Iterator, Mapping

import numpy as np
from pydantic import JsonValue

from domain.analysis import Doubt, Interval, MetricVerdict, Outcome, Verdict
from domain.judges import blocks, memory, signals
from domain.judges.evidence import Array
from domain.judges.kayenta.classify import Classified, Label, Terms, classify
from domain.judges.kayenta.score import Result, Score, score, word
from domain.judges.words import amount
from domain.judging import FailOpen, JudgePolicy, JudgeState, MannWhitney, MetricOptions
from domain.metrics import JudgeLook, MetricKind, MetricLook, MetricSpec, Side

Stored = dict[str, JsonValue]
FAILED = (Label.HIGH, Label.LOW, Label.NO_DATA_FAIL)
DOUBTS: Mapping[Label, Doubt] = {
    Label.NO_DATA: Doubt.NO_DATA,
    Label.ERROR: Doubt.ERROR,
    Label.TOO_FEW: Doubt.UNDERPOWERED,
}


def judge(policy: JudgePolicy, state: JudgeState | None, look: JudgeLook) -> tuple[Verdict, JudgeState]:
    """The verdict over all points so far."""
    kept = dict(state.metrics) if state else {}
    rules = policy.mann_whitney
    results, metrics = [], []
    for metric in look.metrics:
        name = metric.spec.name
        kept[name] = _grown(kept.get(name, {}), metric)
        for pair, experiment, control in _pairs(name, kept[name]):
            labelled = classify(experiment, control, _terms(metric.spec, rules))
            if metric.provider_down and labelled.label not in FAILED:
                metrics.append(_down(metric))
                continue
            results.append(_result(metric.spec, pair, labelled, rules.fail_open))
            metrics.append(_metric(metric.spec, pair, labelled, experiment, control))
    scored = score(results, policy.weights)
    outcome, doubt, reason = _outcome(results, metrics, scored, rules)
    if look.baseline_fault:
        outcome, doubt, reason = Outcome.INCONCLUSIVE, Doubt.BASELINE_BAD, look.baseline_fault
    verdict = Verdict(
        outcome=outcome,
        doubt=doubt,
        reason=reason,
        metrics=tuple(metrics),
        canary_nodes=look.canary_nodes,
        baseline_nodes=look.baseline_nodes,
        canary_requests=look.canary_requests or 0.0,
        baseline_requests=look.baseline_requests or 0.0,
        looks=look.number,
        judge="mann-whitney",
        groups=scored.groups,
        score=scored.value,
    )
    return verdict, JudgeState(judge="mann-whitney", looks=look.number, metrics=kept)


def _terms(spec: MetricSpec, rules: MannWhitney) -> Terms:
    return Terms(
        direction=spec.direction,
        tolerance=rules.tolerance,
        confidence=rules.confidence,
        critical=spec.critical,
        must_have_data=spec.must_have_data,
        options=rules.metrics.get(spec.name, MetricOptions()),
        fail_open=rules.fail_open,
        minimum_points=rules.minimum_points,
        regression=spec.tolerance,
        floor=spec.floor,
    )


def _grown(stored: Stored, metric: MetricLook) -> Stored:
    """The series with this look's points at the end, by series name; NaN where a series is missing."""
    same = sorted(metric.canary.nodes) == sorted(metric.baseline.nodes) and len(metric.canary.nodes) > 0
    width = metric.intervals
    grown: Stored = {}
    for side, measured in (("experiment", metric.canary), ("control", metric.baseline)):
        old = stored.get(side)
        before = {name: memory.recall(row) for name, row in old.items()} if isinstance(old, dict) else {}
        new = _points(metric, measured, by_node=same)
        length = max((row.size for row in before.values()), default=0)
        rows = {
            name: np.concatenate(
                [before.get(name, np.full(length, np.nan)), new.get(name, np.full(width, np.nan))]
            )
            for name in (*before, *(each for each in new if each not in before))
        }
        grown[side] = {name: memory.keep(row) for name, row in rows.items()}
    return grown


def _points(metric: MetricLook, side: Side, *, by_node: bool) -> dict[str, Array]:
    """One value per interval: of every series, or of all nodes together."""
    crew = blocks.members(side.nodes)
    values, exposure = blocks.rows(side, crew, "values"), blocks.rows(side, crew, "exposure")
    if metric.spec.kind is MetricKind.LATENCY and metric.bounds:
        counted = blocks.buckets(side, crew, len(metric.bounds) + 1)
        if counted is None:
            return {}
        middles = np.exp(signals.log_middles(np.array(metric.bounds)))
        values, exposure = np.sum(counted * middles, axis=-1), np.sum(counted, axis=-1)
    if values is None:
        return {}
    if not by_node:
        values, exposure = _together(values, exposure)
    if exposure is not None:
        values = np.where(exposure > 0, values / np.where(exposure > 0, exposure, 1.0), np.nan)
    names = crew.names if by_node else ("all",)
    return dict(zip(names, values, strict=True))


def _together(values: Array, exposure: Array | None) -> tuple[Array, Array | None]:
    """All nodes as one series: sums of events and exposures, means of levels."""
    known = np.isfinite(values)
    total = np.sum(np.where(known, values, 0.0), axis=0, keepdims=True)
    if exposure is not None:
        exposed = np.where(known & np.isfinite(exposure), exposure, 0.0)
        return total, np.sum(exposed, axis=0, keepdims=True)
    number = known.sum(axis=0, keepdims=True)
    return np.where(number > 0, total / np.maximum(number, 1), np.nan), None


def _pairs(name: str, stored: Stored) -> Iterator[tuple[str, Array, Array]]:
    """Name, experiment and control of every pair; a metric without any series is one empty pair."""
    sides = [stored[side] for side in ("experiment", "control")]
    found = [side if isinstance(side, dict) else {} for side in sides]
    names = list(dict.fromkeys([*found[0], *found[1]]))
    for each in names or ["all"]:
        experiment, control = (memory.recall(side.get(each, [])) for side in found)
        yield name if len(names) < 2 else f"{name}{{{each}}}", experiment, control


def _result(spec: MetricSpec, name: str, labelled: Classified, switches: FailOpen) -> Result:
    """A metric without a group counts nowhere in Kayenta; here, in a group of its like."""
    return Result(
        name=name,
        label=labelled.label,
        groups=spec.groups or (() if switches.dilution else ("metrics",)),
        critical=labelled.critical,
        muted=spec.dry_run,
    )


def _metric(
    spec: MetricSpec, name: str, labelled: Classified, experiment: Array, control: Array
) -> MetricVerdict:
    label, found = labelled.label, labelled.shift
    ours, theirs = _mean(experiment), _mean(control)
    outcome = Outcome.PASS if label is Label.PASS else Outcome.INCONCLUSIVE
    if label in FAILED:
        outcome = Outcome.FAIL
    why = f" ({labelled.reason})" if labelled.reason else ""
    values = f"{name} {amount(ours, spec.unit)} against {amount(theirs, spec.unit)}"
    return MetricVerdict(
        metric=name,
        outcome=outcome,
        doubt=DOUBTS.get(label),
        canary=ours,
        baseline=theirs,
        unit=spec.unit,
        reason=f"{values}: {label}{why}",
        estimate=labelled.deviation,
        difference=Interval(low=found.low, high=found.high, level=0.98) if found else None,
        groups=spec.groups,
        critical=labelled.critical,
        must_have_data=spec.must_have_data,
        dry_run=spec.dry_run,
        classification=str(label),
    )


def _down(metric: MetricLook) -> MetricVerdict:
    spec = metric.spec
    return MetricVerdict(
        metric=spec.name,
        outcome=Outcome.INCONCLUSIVE,
        doubt=Doubt.PROVIDER_DOWN,
        unit=spec.unit,
        reason=f"{spec.name}: no answer from the provider: {metric.provider_down}",
        groups=spec.groups,
        dry_run=spec.dry_run,
    )


def _mean(values: Array) -> float | None:
    known = values[np.isfinite(values)]
    return float(known.mean()) if known.size else None


def _outcome(
    results: list[Result], metrics: list[MetricVerdict], scored: Score, rules: MannWhitney
) -> tuple[Outcome, Doubt | None, str]:
    """Kayenta's word for the score, unless a switch that is off says that the score hides something."""
    said = word(scored.value, passes=rules.pass_score, marginal=rules.marginal_score)
    reason = f"score {scored.value:g} ({said})" + (f": {scored.reason}" if scored.reason else "")
    bad = [each.name for each in results if each.label in FAILED and not each.muted]
    if bad:
        reason += f"; {', '.join(bad)}"
    ends = scored.value <= rules.marginal_score if rules.fail_open.marginal_fails else said == "Fail"
    doubt, hidden = _hidden(metrics, scored, bad, rules.fail_open)
    if ends and (bad or not hidden):
        return Outcome.FAIL, None, reason
    if hidden:
        return Outcome.INCONCLUSIVE, doubt, f"{reason}; {hidden}"
    if said == "Pass":
        return Outcome.PASS, None, reason
    return Outcome.INCONCLUSIVE, Doubt.UNDERPOWERED, reason


def _hidden(
    metrics: list[MetricVerdict], scored: Score, bad: list[str], switches: FailOpen
) -> tuple[Doubt | None, str]:
    """What a score does not show: metrics that were not judged, or that failed and were outvoted."""
    heard = [each for each in metrics if not each.dry_run]
    if not heard:
        return Doubt.NO_DATA, "no metric was judged"
    for doubt in (Doubt.ERROR, Doubt.PROVIDER_DOWN, Doubt.NO_DATA, Doubt.UNDERPOWERED):
        named = [each.metric for each in heard if each.doubt is doubt]
        excused = (doubt is Doubt.ERROR and switches.error_passes) or (
            doubt is Doubt.NO_DATA and switches.replace_passes
        )
        if named and not excused:
            return doubt, f"{', '.join(named)}: {doubt}"
    if bad and not switches.dilution and scored.value > 0:
        return Doubt.UNDERPOWERED, "a metric that fails is not outvoted by others"
    return None, ""
