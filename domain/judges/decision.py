"""From what the tests found to what is said about one metric."""

import math

from domain.analysis import Certificate, Doubt, Interval, MetricVerdict, Needs, Outcome
from domain.judges import words
from domain.judges.context import Context
from domain.judges.evidence import odds
from domain.judges.findings import Finding
from domain.metrics import Direction, MetricKind, MetricSpec

RISING = math.log(4.0)  # evidence for a regression from which on nothing passes


def undecided(spec: MetricSpec, outcome: Outcome, doubt: Doubt | None, reason: str) -> MetricVerdict:
    """A verdict without numbers."""
    return MetricVerdict(
        metric=spec.name,
        outcome=outcome,
        doubt=doubt,
        unit=spec.unit,
        reason=reason,
        groups=spec.groups,
        critical=spec.critical,
        must_have_data=spec.must_have_data,
        dry_run=spec.dry_run,
    )


def decide(spec: MetricSpec, finding: Finding, context: Context, failed: str | None) -> MetricVerdict:
    """What the numbers say; a metric that failed once (`failed`: with what reason) stays failed."""
    certificate = _certificate(spec, finding, context)
    outcome, doubt, reason = _outcome(spec, finding, context, certificate, failed)
    lone = _lone(finding, context)
    usual = finding.baseline
    needs = Needs(events=finding.events, minutes=finding.minutes) if doubt is Doubt.UNDERPOWERED else None
    return undecided(spec, outcome, doubt, reason).model_copy(
        update={
            "canary": finding.canary,
            "baseline": usual,
            "limit": None if usual is None else usual * _limit(spec),
            "estimate": finding.estimate,
            "ratio": Interval(low=finding.low, high=finding.high, level=1.0 - 2.0 * context.alpha),
            "evidence": odds(finding.against),
            "needed": 1.0 / context.alpha,
            "certificate": certificate,
            "needs": needs,
            "outliers": finding.loud if lone else (),
        }
    )


def _limit(spec: MetricSpec) -> float:
    return 1.0 / (1.0 + spec.margin) if spec.direction is Direction.DECREASE else 1.0 + spec.margin


def _certificate(spec: MetricSpec, finding: Finding, context: Context) -> Certificate:
    """The largest regression that the data still allow.

    The band and the test of the tolerance are two statements, each true with the stated confidence; where
    they differ, the one that allows more is shown as long as the test does not rule the tolerance out.
    """
    within = finding.certified >= context.needed
    edge = finding.high
    if spec.direction is Direction.DECREASE:
        edge = 1.0 / finding.low if finding.low else None
    elif spec.direction is Direction.EITHER and finding.low and edge is not None:
        edge = max(edge, 1.0 / finding.low)
    limit = 1.0 + spec.tolerance
    if within:
        edge = limit if edge is None else min(edge, limit)
    elif edge is not None:
        edge = max(edge, limit)
    return Certificate(
        largest=None if edge is None else max(0.0, edge - 1.0),
        tolerance=spec.tolerance,
        ceiling=finding.ceiling,
        floor=spec.floor,
        level=1.0 - context.alpha,
        holds=within or finding.below_floor,
    )


def _lone(finding: Finding, context: Context) -> bool:
    """Whether one node alone makes the difference: with it the evidence decides, without it it does not."""
    return finding.whole >= context.needed > finding.against and bool(finding.loud)


def _outcome(
    spec: MetricSpec, finding: Finding, context: Context, certificate: Certificate, failed: str | None
) -> tuple[Outcome, Doubt | None, str]:
    name = spec.name
    if failed is not None:
        return Outcome.FAIL, None, failed
    if finding.against >= context.needed:
        return Outcome.FAIL, None, _failure(spec, finding)
    if not all(finding.measured):
        return Outcome.INCONCLUSIVE, Doubt.NO_DATA, _silence(name, finding)
    if _lone(finding, context):
        doubt = Doubt.UNDERPOWERED if finding.loud_is_canary else Doubt.BASELINE_BAD
        return Outcome.INCONCLUSIVE, doubt, _loneliness(name, finding)
    if certificate.holds and finding.settled and finding.against < RISING:
        return Outcome.PASS, None, _success(spec, finding, certificate)
    return Outcome.INCONCLUSIVE, Doubt.UNDERPOWERED, _lacking(spec, finding, certificate)


def _failure(spec: MetricSpec, finding: Finding) -> str:
    return (
        f"{_values(spec, finding)}: worse than the margin of {100 * spec.margin:.3g} % allows, "
        f"evidence {words.evidence(odds(finding.against))}"
    )


def _values(spec: MetricSpec, finding: Finding) -> str:
    ours, theirs = (words.amount(value, spec.unit) for value in (finding.canary, finding.baseline))
    return f"{spec.name} {ours} against {theirs}"


def _silence(name: str, finding: Finding) -> str:
    sides = [side for side, there in zip(("canary", "baseline"), finding.measured, strict=True) if not there]
    where = f"the {sides[0]}" if len(sides) == 1 else "either side"
    return f"{name}: nothing new on {where}" if all(finding.ever) else f"{name}: nothing measured on {where}"


def _loneliness(name: str, finding: Finding) -> str:
    side = "canary" if finding.loud_is_canary else "baseline"
    nodes = ", ".join(finding.loud[:5])
    return f"{name}: without {nodes} nothing speaks for a regression: out of line with the other {side} nodes"


def _success(spec: MetricSpec, finding: Finding, certificate: Certificate) -> str:
    level = words.percent(certificate.level)
    if certificate.largest is not None and certificate.largest <= spec.tolerance:
        return f"{spec.name} {_at_most(spec, certificate.largest)} ({level}), within the tolerance of " + (
            _at_most(spec, spec.tolerance).removeprefix("at most ").removeprefix("at least ")
        )
    ceiling, floor = (words.amount(value, spec.unit) for value in (certificate.ceiling, spec.floor))
    if spec.kind in (MetricKind.RATIO, MetricKind.COUNTER):
        return f"{spec.name} at most {ceiling} ({level}), below the floor of {floor}"
    return f"{spec.name} never above {ceiling}, below the floor of {floor}"


def _at_most(spec: MetricSpec, regression: float) -> str:
    if spec.direction is Direction.DECREASE:
        return f"at least {words.times(1.0 / (1.0 + regression))}"
    return f"at most {words.times(1.0 + regression)}"


def _lacking(spec: MetricSpec, finding: Finding, certificate: Certificate) -> str:
    allowed = "any change" if certificate.largest is None else _at_most(spec, certificate.largest)
    said = f"{_values(spec, finding)}: the data still allow {allowed}, "
    said += f"tolerated is {_at_most(spec, spec.tolerance).removeprefix('at most ')}"
    if finding.against >= RISING:
        return f"{said}; evidence for a regression is growing ({words.evidence(odds(finding.against))})"
    needs = words.missing(finding.events, finding.minutes)
    return f"{said}; {needs} would tell" if needs else said
