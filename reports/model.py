"""From an analysis's looks to what its report shows: bands per look, both sides over time, nodes."""

from collections.abc import Sequence
from datetime import datetime
from statistics import fmean

from domain.analysis import MetricVerdict, Verdict
from domain.base import Frozen
from domain.judging import JudgedLook
from domain.metrics import MetricKind, MetricLook, Side

LATENCY_QUANTILE = 0.95
MINUTE = 60.0


class Judged(Frozen):
    """One look as it was stored: its verdict and, where it was kept, what it rests on."""

    number: int
    at: datetime
    verdict: Verdict
    judged: JudgedLook | None = None


class BandPoint(Frozen):
    """What one look knew: canary over baseline, minus 1. None is "no bound yet"."""

    minute: float
    estimate: float | None
    low: float | None
    high: float | None


class Line(Frozen):
    """One side over time."""

    minutes: tuple[float, ...]
    values: tuple[float | None, ...]


class NodeRow(Frozen):
    """One node: how many measurements it gave, and its mean."""

    name: str
    side: str
    samples: int
    value: float | None
    outlier: bool


class MetricReport(Frozen):
    """One metric. `margin` and `tolerance` are relative; None where the judge has none."""

    verdict: MetricVerdict
    band: tuple[BandPoint, ...]
    margin: float | None
    tolerance: float | None
    canary: Line
    baseline: Line
    nodes: tuple[NodeRow, ...]


class Report(Frozen):
    """One analysis."""

    analysis: str
    title: str
    verdict: Verdict
    began: datetime
    ended: datetime
    metrics: tuple[MetricReport, ...]


def build(analysis: str, title: str, looks: Sequence[Judged]) -> Report:
    """The report of an analysis with at least one look, in order."""
    last = looks[-1]
    began = _began(looks)
    return Report(
        analysis=analysis,
        title=title,
        verdict=last.verdict,
        began=datetime.fromtimestamp(began, tz=last.at.tzinfo),
        ended=last.at,
        metrics=tuple(_metric(metric, looks, began) for metric in last.verdict.metrics),
    )


def _began(looks: Sequence[Judged]) -> float:
    starts = [look.judged.look.start for look in looks if look.judged is not None]
    return min(starts, default=looks[0].at.timestamp())


def _metric(verdict: MetricVerdict, looks: Sequence[Judged], began: float) -> MetricReport:
    name = verdict.metric
    measured = [
        (look.judged, metric)
        for look in looks
        if look.judged is not None
        for metric in look.judged.look.metrics
        if metric.spec.name == name
    ]
    spec = measured[-1][1].spec if measured else None
    return MetricReport(
        verdict=verdict,
        band=tuple(_band(look, name, began) for look in looks if _said(look, name) is not None),
        margin=spec.margin if spec is not None else None,
        tolerance=spec.tolerance if spec is not None else None,
        canary=_line([(look, metric, metric.canary) for look, metric in measured], began),
        baseline=_line([(look, metric, metric.baseline) for look, metric in measured], began),
        nodes=_nodes(verdict, [metric for _, metric in measured]),
    )


def _said(look: Judged, name: str) -> MetricVerdict | None:
    return next((metric for metric in look.verdict.metrics if metric.metric == name), None)


def _band(look: Judged, name: str, began: float) -> BandPoint:
    said = _said(look, name)
    end = look.judged.look.end if look.judged is not None else look.at.timestamp()
    estimate = said.estimate if said is not None else None
    ratio = said.ratio if said is not None else None
    if estimate is None and said is not None and said.canary is not None and said.baseline:
        estimate = said.canary / said.baseline
    return BandPoint(
        minute=(end - began) / MINUTE,
        estimate=estimate - 1 if estimate is not None else None,
        low=ratio.low - 1 if ratio is not None and ratio.low is not None else None,
        high=ratio.high - 1 if ratio is not None and ratio.high is not None else None,
    )


def _line(measured: Sequence[tuple[JudgedLook, MetricLook, Side]], began: float) -> Line:
    minutes: list[float] = []
    values: list[float | None] = []
    for judged, metric, side in measured:
        for place in range(side.intervals):
            minute = (judged.look.start + (place + 1) * judged.look.step - began) / MINUTE
            if minutes and minute <= minutes[-1]:
                continue  # windows of a guard overlap
            minutes.append(minute)
            values.append(_pooled(metric, side, place, range(len(side.nodes))))
    return Line(minutes=tuple(minutes), values=tuple(values))


def _pooled(metric: MetricLook, side: Side, place: int, rows: Sequence[int]) -> float | None:
    """One interval of the nodes at `rows`: a share or rate, a 95th percentile, or a mean."""
    if metric.spec.kind is MetricKind.LATENCY and side.buckets:
        known = [bucket for row in rows if (bucket := side.buckets[row][place]) is not None]
        return _quantile(metric.bounds, [sum(column) for column in zip(*known, strict=True)])
    values = [value for row in rows if (value := _finite(side.values, row, place)) is not None]
    if metric.spec.kind in (MetricKind.RATIO, MetricKind.COUNTER):
        exposed = [base for row in rows if (base := _finite(side.exposure, row, place)) is not None]
        return sum(values) / sum(exposed) if sum(exposed) > 0 else None
    return fmean(values) if values else None


def _finite(table: Sequence[Sequence[float | None]], row: int, place: int) -> float | None:
    value = table[row][place] if table else None
    return value if value is not None and abs(value) < float("inf") else None


def _quantile(bounds: Sequence[float], counts: Sequence[float]) -> float | None:
    """Linear within a bucket; what lies above the last bound counts as that bound."""
    whole = sum(counts)
    if whole <= 0 or not bounds:
        return None
    below, low = 0.0, 0.0
    for bound, count in zip(bounds, counts, strict=False):
        if below + count >= LATENCY_QUANTILE * whole:
            return low + (bound - low) * (LATENCY_QUANTILE * whole - below) / count if count else bound
        below, low = below + count, bound
    return bounds[-1]


def _nodes(verdict: MetricVerdict, looks: Sequence[MetricLook]) -> tuple[NodeRow, ...]:
    found: dict[tuple[str, str], tuple[int, list[float]]] = {}
    for metric in looks:
        for label, side in (("canary", metric.canary), ("baseline", metric.baseline)):
            for row, name in enumerate(side.nodes):
                samples, values = found.setdefault((label, name), (0, []))
                values += [
                    value
                    for place in range(side.intervals)
                    if (value := _pooled(metric, side, place, [row])) is not None
                ]
                given = side.samples[row] if side.samples else 0
                found[label, name] = (samples + given, values)
    return tuple(
        NodeRow(
            name=name,
            side=label,
            samples=samples,
            value=fmean(values) if values else None,
            outlier=name in verdict.outliers,
        )
        for (label, name), (samples, values) in found.items()
    )
