"""Numbers and doubts as people read them."""

from domain.analysis import MetricVerdict, Outcome, Verdict

MARKS = {Outcome.PASS: "✓", Outcome.FAIL: "✕", Outcome.INCONCLUSIVE: "?"}


def amount(value: float | None, unit: str) -> str:
    """A value with its unit; a dash where there is none."""
    if value is None:
        return "–"
    if unit == "%":
        return f"{100 * value:.2f} %"
    if unit == "s":
        return f"{1000 * value:.1f} ms"
    if unit == "bytes":
        return f"{value / 1048576:.1f} MiB"
    return f"{value:.4g} {unit}".rstrip()


def percent(value: float | None) -> str:
    """A relative difference, with its sign."""
    return "–" if value is None else f"{100 * value:+.1f} %"


def headline(verdict: Verdict) -> str:
    """The verdict in one line."""
    doubt = f" ({verdict.doubt})" if verdict.doubt is not None else ""
    return f"{verdict.outcome}{doubt}"


def bounds(metric: MetricVerdict) -> str:
    """What the data allow, and how sure that is."""
    if metric.ratio is None:
        return "–"
    low, high = (each - 1 if each is not None else None for each in (metric.ratio.low, metric.ratio.high))
    return f"{percent(low)} … {percent(high)} at {100 * metric.ratio.level:g} %"


def evidence(metric: MetricVerdict) -> str:
    """The evidence for a regression, x : 1."""
    if metric.evidence is None:
        return "–"
    needed = f" (needs {metric.needed:.3g})" if metric.needed is not None else ""
    return f"{metric.evidence:.3g} : 1{needed}"


def missing(metric: MetricVerdict) -> str:
    """What an underpowered metric still needs; "" when nothing is known to be missing."""
    needs = metric.needs
    if needs is None:
        return ""
    events = f"{needs.events:.0f} more events" if needs.events is not None else ""
    minutes = f"{needs.minutes:.0f} more minutes" if needs.minutes is not None else ""
    return " or ".join(each for each in (events, minutes) if each)
