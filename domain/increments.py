"""From an agent's samples to what one node did in equal, disjoint intervals: what judges count.

Between two samples of one process lies an increment of every counter; it belongs to the interval in which
the later sample falls. So nothing is counted twice or lost between two looks, however they are cut, and what
a process did before its first sample is left out. Absent is None, never zero.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from domain.windows import difference
from domain.wire import Histogram, Sample

Series = tuple[float | None, ...]


@dataclass(frozen=True, slots=True)
class NodeIntervals:
    """What one node did, interval by interval.

    Attributes:
        samples: how many samples fell into the intervals.
        requests, errors: events; cpu_cores: seconds per second; memory_bytes: mean resident set.
        probes, unhealthy: health probes asked, and those not answered well.
        latency: observations of the interval, as cumulative buckets.
        versions: the releases that were seen, in order.
        age: seconds before the end at which the oldest process that was seen began; None if unknown.
    """

    node: str
    samples: int
    requests: Series
    errors: Series
    cpu_cores: Series
    memory_bytes: Series
    probes: Series
    unhealthy: Series
    latency: tuple[Histogram | None, ...]
    versions: tuple[str, ...] = ()
    age: float | None = None


def silent(node: str, parts: int) -> NodeIntervals:
    """A node that answered nothing."""
    return cut(node, (), version=None, start=0.0, end=1.0, parts=parts)


def cut(
    node: str, samples: Sequence[Sample], *, version: str | None, start: float, end: float, parts: int
) -> NodeIntervals:
    """One node's intervals.

    Args:
        node: its name.
        samples: in order of time; some from before `start`, so that the first increment is whole.
        version: the release to look at; None takes any.
        start: on the node's clock; a sample at exactly `start` belongs to the time before.
        end: on the node's clock, included.
        parts: into how many intervals the time is cut.
    """
    bins: list[list[tuple[Sample | None, Sample]]] = [[] for _ in range(parts)]
    before: Sample | None = None
    for sample in samples:
        wanted = version is None or sample.version == version
        if wanted and start < sample.at <= end:
            same = before is not None and before.instance == sample.instance
            place = max(0, min(parts, math.ceil((sample.at - start) / (end - start) * parts)) - 1)
            bins[place].append((before if same else None, sample))
        before = sample if wanted else None
    inside = [sample for each in bins for _, sample in each]
    return NodeIntervals(
        node=node,
        samples=len(inside),
        requests=tuple(_growth(each, lambda sample: sample.requests) for each in bins),
        errors=tuple(_growth(each, lambda sample: sample.errors) for each in bins),
        cpu_cores=tuple(_rate(each, lambda sample: sample.cpu_seconds) for each in bins),
        memory_bytes=tuple(_mean([sample.memory_bytes for _, sample in each]) for each in bins),
        probes=tuple(_number([sample.probe_ok is not None for _, sample in each]) for each in bins),
        unhealthy=tuple(_number([sample.probe_ok is False for _, sample in each]) for each in bins),
        latency=tuple(_latency(each) for each in bins),
        versions=tuple(dict.fromkeys(sample.version for sample in inside)),
        age=_age(inside, end),
    )


def _age(samples: Sequence[Sample], end: float) -> float | None:
    ages = [end - sample.at + sample.age for sample in samples if sample.age is not None]
    return max(ages) if ages and len(ages) == len(samples) else None


Pairs = Sequence[tuple[Sample | None, Sample]]


def _growth(pairs: Pairs, counter: Callable[[Sample], float | None]) -> float | None:
    grown = None
    for before, sample in pairs:
        old, new = (counter(before) if before is not None else None), counter(sample)
        if old is not None and new is not None:
            grown = (grown or 0.0) + max(0.0, new - old)
    return grown


def _rate(pairs: Pairs, counter: Callable[[Sample], float | None]) -> float | None:
    seconds = sum(
        sample.at - before.at
        for before, sample in pairs
        if before is not None and counter(before) is not None and counter(sample) is not None
    )
    grown = _growth(pairs, counter)
    return grown / seconds if grown is not None and seconds > 0 else None


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else None


def _number(marks: Sequence[bool]) -> float | None:
    return float(sum(marks)) if marks else None


def _latency(pairs: Pairs) -> Histogram | None:
    grown: list[Histogram] = [
        difference(sample.latency, before.latency)
        for before, sample in pairs
        if before is not None
        and before.latency is not None
        and sample.latency is not None
        and before.latency.bounds == sample.latency.bounds
    ]
    if not grown:
        return None
    return Histogram(
        bounds=grown[0].bounds,
        counts=tuple(sum(column) for column in zip(*(one.counts for one in grown), strict=True)),
        count=sum(one.count for one in grown),
        total=sum(one.total for one in grown),
    )
