"""From series of numbers to a judge's side: rows per node, columns per interval, nothing counted twice."""

import math
from collections.abc import Sequence

from pydantic import ConfigDict

from domain.base import Frozen
from domain.metrics import Row, Side

ALL = "all"
"""The one row of a source that does not tell nodes apart."""


class Series(Frozen):
    """One series: labels, and (seconds since the epoch, value) in order of time."""

    model_config = ConfigDict(frozen=True, extra="ignore", allow_inf_nan=True)

    labels: dict[str, str]
    points: tuple[tuple[float, float], ...]


def ends(start: float, end: float, step: float) -> tuple[float, ...]:
    """The ends of the disjoint intervals of one step that fit between start and end.

    To the millisecond, as Prometheus keeps time.
    """
    return tuple(round(start + step * (place + 1), 3) for place in range(int((end - start) / step + 1e-9)))


def grown(series: Sequence[Series], at: Sequence[float], step: float) -> tuple[Series, ...]:
    """Counters' growth over each interval that ends at `at`, from their values at its two ends.

    Every event is counted exactly once. (PromQL's increase() over neighbouring windows loses what happens
    between the last scrape of one and the first of the next, and extrapolates.) A counter that fell was
    reset: what it has now came since. An interval without a value at both ends was not observed.
    """
    found = []
    for each in series:
        values = {round(moment, 3): value for moment, value in each.points}
        pairs = [(end, values.get(round(end - step, 3)), values.get(round(end, 3))) for end in at]
        points = tuple(
            (end, after - before if after >= before else after)
            for end, before, after in pairs
            if before is not None and after is not None
        )
        found.append(Series(labels=each.labels, points=points))
    return tuple(found)


def rows(
    series: Sequence[Series], at: Sequence[float], node_label: str | None, nodes: Sequence[str]
) -> tuple[tuple[str, ...], tuple[Row, ...]]:
    """Names and rows: the sum of a node's series per instant; None where none of them has a number.

    With a node label each node has a row, in the given order, also one that no series names. A label that
    continues after the node's name with a colon (host:port) belongs to the node.
    """
    names = tuple(nodes) if node_label is not None else (ALL,)
    found: dict[str, list[Series]] = {name: [] for name in names}
    for each in series:
        name = _node(each.labels.get(node_label, ""), names) if node_label is not None else ALL
        if name is not None:
            found[name].append(each)
    return names, tuple(_summed(found[name], at) for name in names)


def _node(label: str, names: Sequence[str]) -> str | None:
    return next((name for name in names if label == name or label.startswith(f"{name}:")), None)


def _summed(series: Sequence[Series], at: Sequence[float]) -> Row:
    values = [{round(moment, 3): value for moment, value in each.points} for each in series]
    instants = [round(moment, 3) for moment in at]
    columns = ([one[each] for one in values if math.isfinite(one.get(each, math.nan))] for each in instants)
    return tuple(sum(column) if column else None for column in columns)


def plain_side(
    values: Sequence[Series],
    exposure: Sequence[Series] | None,
    at: Sequence[float],
    node_label: str | None,
    nodes: Sequence[str],
) -> Side:
    """A side of a gauge, a counter or a ratio.

    An interval that has an exposure but no events has zero events: a counter of errors that never counted
    one is not exported by many programs.
    """
    names, numbers = rows(values, at, node_label, nodes)
    if exposure is None:
        return Side(nodes=names, values=numbers, samples=_samples(numbers))
    _, exposed = rows(exposure, at, node_label, nodes)
    numbers = tuple(
        tuple(None if base is None else (value or 0.0) for value, base in zip(values, bases, strict=True))
        for values, bases in zip(numbers, exposed, strict=True)
    )
    return Side(nodes=names, values=numbers, exposure=exposed, samples=_samples(exposed))


def histogram_side(
    series: Sequence[Series], at: Sequence[float], node_label: str | None, nodes: Sequence[str]
) -> tuple[tuple[float, ...], Side]:
    """Bounds and a side of a latency, from the growth of a classic histogram's buckets.

    Prometheus's buckets are cumulative over `le`; ours are not: differences of neighbours, never below
    zero. An interval without a +Inf bucket was not observed.
    """
    edges = sorted(dict.fromkeys(float(each.labels["le"]) for each in series if "le" in each.labels))
    bounds = tuple(edge for edge in edges if math.isfinite(edge))
    names: tuple[str, ...] = tuple(nodes) if node_label is not None else (ALL,)
    cumulative = [
        rows([each for each in series if float(each.labels.get("le", "nan")) == edge], at, node_label, nodes)[
            1
        ]
        for edge in (*bounds, math.inf)
    ]
    buckets = tuple(
        tuple(_bucket([level[node][moment] for level in cumulative]) for moment in range(len(at)))
        for node in range(len(names))
    )
    samples = tuple(sum(bucket is not None for bucket in row) for row in buckets)
    return bounds, Side(nodes=names, buckets=buckets, samples=samples)


def _bucket(cumulative: Sequence[float | None]) -> tuple[float, ...] | None:
    if cumulative[-1] is None:
        return None
    counts, below = [], 0.0
    for value in cumulative:
        upto = max(below, value or 0.0)
        counts.append(upto - below)
        below = upto
    return tuple(counts)


def _samples(numbers: Sequence[Row]) -> tuple[int, ...]:
    return tuple(sum(value is not None for value in row) for row in numbers)
