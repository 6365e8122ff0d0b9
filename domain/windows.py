"""From an agent's samples to what one node did in a window of time.

Counters are cumulative over the life of one process (`instance`), so a window's count is the sum, over
instances, of last minus first. A counter that a node does not report stays None: absent is not zero.
"""

from collections.abc import Callable, Iterable, Sequence
from itertools import groupby, pairwise

from domain.base import Frozen
from domain.wire import Histogram, Sample


class NodeWindow(Frozen):
    """What one node did between two instants.

    `cpu_cores` is CPU seconds per second; `memory_bytes` the mean resident set; `probes` and `unhealthy`
    count health probes; `latency` holds the window's own bucket counts.
    """

    node: str
    samples: int = 0
    seconds: float = 0.0
    requests: float | None = None
    errors: float | None = None
    latency: Histogram | None = None
    cpu_cores: float | None = None
    memory_bytes: float | None = None
    probes: int = 0
    unhealthy: int = 0


def reduce_samples(
    node: str, samples: Iterable[Sample], *, version: str | None, since: float, until: float
) -> NodeWindow:
    """One node's window, over the samples of one release.

    Args:
        node: its name.
        samples: in order of time.
        version: the release to look at; None takes any.
        since: start of the window, on the node's clock (seconds since the epoch).
        until: its end.
    """
    chosen = [
        sample
        for sample in samples
        if since <= sample.at <= until and (version is None or sample.version == version)
    ]
    runs = [list(run) for _, run in groupby(chosen, key=lambda sample: sample.instance)]
    seconds = sum(run[-1].at - run[0].at for run in runs)
    cpu = _growth(runs, lambda sample: sample.cpu_seconds)
    memory = [sample.memory_bytes for sample in chosen if sample.memory_bytes is not None]
    probed = [sample.probe_ok for sample in chosen if sample.probe_ok is not None]
    return NodeWindow(
        node=node,
        samples=len(chosen),
        seconds=seconds,
        requests=_growth(runs, lambda sample: sample.requests),
        errors=_growth(runs, lambda sample: sample.errors),
        latency=_latency(runs),
        cpu_cores=cpu / seconds if cpu is not None and seconds > 0 else None,
        memory_bytes=sum(memory) / len(memory) if memory else None,
        probes=len(probed),
        unhealthy=probed.count(False),
    )


def _growth(runs: Sequence[Sequence[Sample]], counter: Callable[[Sample], float | None]) -> float | None:
    grown = None
    for run in runs:
        values = [value for value in map(counter, run) if value is not None]
        if len(values) > 1:
            grown = (grown or 0.0) + max(0.0, values[-1] - values[0])
    return grown


def _latency(runs: Sequence[Sequence[Sample]]) -> Histogram | None:
    grown = []
    for run in runs:
        histograms = [sample.latency for sample in run if sample.latency is not None]
        if len(histograms) > 1:
            grown.append(difference(histograms[-1], histograms[0]))
    return merge(grown)


def difference(later: Histogram, earlier: Histogram) -> Histogram:
    """What was observed between two readings of the same process."""
    if later.bounds != earlier.bounds:
        return later
    return Histogram(
        bounds=later.bounds,
        counts=tuple(b - a for a, b in zip(earlier.counts, later.counts, strict=True)),
        count=later.count - earlier.count,
        total=later.total - earlier.total,
    )


def merge(histograms: Sequence[Histogram]) -> Histogram | None:
    """All observations together; None when there are none or their bounds differ."""
    if not histograms or any(one.bounds != histograms[0].bounds for one in histograms):
        return None
    return Histogram(
        bounds=histograms[0].bounds,
        counts=tuple(sum(column) for column in zip(*(one.counts for one in histograms), strict=True)),
        count=sum(one.count for one in histograms),
        total=sum(one.total for one in histograms),
    )


def quantile(histogram: Histogram, share: float) -> float | None:
    """The value below which `share` of the observations lie, linear within a bucket; None when empty.

    Like Prometheus's histogram_quantile: what lies above the last finite bound counts as that bound.
    """
    if histogram.count <= 0 or not histogram.bounds:
        return None
    rank = share * histogram.count
    edges = list(zip((0.0, *histogram.bounds), (0.0, *histogram.counts), strict=True))
    for (low, below), (high, upto) in pairwise(edges):
        if upto >= rank:
            # Rounding must not carry the value over its bucket's bound.
            return high if upto == below else min(high, low + (high - low) * (rank - below) / (upto - below))
    return histogram.bounds[-1]
