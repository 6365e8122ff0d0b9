"""The metrics that agents bring by themselves, and how they become a judge's input."""

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Final

from domain.increments import NodeIntervals, Series
from domain.metrics import JudgeLook, MetricKind, MetricLook, MetricSpec, Side
from domain.wire import Histogram

# What is tolerated by default. Errors: no margin, since counts are judged exactly; a release that doubles
# them is not promoted unless they stay below half a percent. Floors of gauges: below them nobody minds.
AGENT_METRICS: Final = (
    MetricSpec(name="errors", kind=MetricKind.RATIO, unit="%", margin=0.0, tolerance=1.0, floor=0.005),
    MetricSpec(name="latency", kind=MetricKind.LATENCY, unit="s", margin=0.05, tolerance=0.25),
    MetricSpec(name="unhealthy", kind=MetricKind.RATIO, unit="%", margin=0.0, tolerance=1.0, floor=0.1),
    MetricSpec(name="cpu", kind=MetricKind.GAUGE, unit="cores", margin=0.05, tolerance=0.5, floor=0.15),
    MetricSpec(
        name="memory",
        kind=MetricKind.GAUGE,
        unit="bytes",
        margin=0.05,
        tolerance=0.3,
        floor=float(32 * 1024 * 1024),
    ),
)
AGENT_METRIC_NAMES: Final = tuple(spec.name for spec in AGENT_METRICS)
AGENTS_REMEMBER: Final = 840.0  # seconds of samples per release, at one a second

Nodes = Sequence[NodeIntervals]


def metric_looks(
    specs: Sequence[MetricSpec], canary: Nodes, baseline: Nodes, past_canary: Nodes, past_baseline: Nodes
) -> tuple[MetricLook, ...]:
    """One look's metrics. Nodes that were silent keep their rows; histories may be empty."""
    groups = (canary, baseline, past_canary, past_baseline)
    looks = []
    for spec in specs:
        bounds = _common_bounds(groups) if spec.name == "latency" else ()
        sides = [_side(spec, group, bounds) for group in groups]
        looks.append(
            MetricLook(
                spec=spec,
                bounds=bounds,
                canary=sides[0],
                baseline=sides[1],
                history_canary=sides[2],
                history_baseline=sides[3],
            )
        )
    return tuple(looks)


def requests(nodes: Nodes) -> float | None:
    """All requests of one side; None where no node counts them."""
    known = [value for node in nodes for value in node.requests if value is not None]
    return sum(known) if known else None


def overlap(baseline: Nodes, version: str) -> str:
    """Why the baseline is none: nodes that run the release which is judged; "" when there are none."""
    mixed = [node.node for node in baseline if version in node.versions]
    if not mixed:
        return ""
    return f"baseline nodes run {version} themselves: {_some(mixed)}"


def stale(baseline: Nodes, oldest: float) -> str:
    """Why a baseline is not fresh: none of it was restarted, or processes that are older; "" when it is.

    Args:
        baseline: the nodes.
        oldest: seconds that the processes may have run by the end of the look.
    """
    if not baseline:
        return "the baseline is not fresh: no unchanged node could be restarted for it"
    seen = [node for node in baseline if node.samples]
    unknown = [node.node for node in seen if node.age is None]
    if unknown:
        return f"the baseline is not fresh as far as is known: no age of the process on {_some(unknown)}"
    old = [node.node for node in seen if node.age is not None and node.age > oldest]
    if old:
        return f"the baseline is not fresh: older processes run on {_some(old)}"
    return ""


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:5])


def _side(spec: MetricSpec, nodes: Nodes, bounds: tuple[float, ...]) -> Side:
    names = tuple(node.node for node in nodes)
    samples = tuple(node.samples for node in nodes)
    if spec.name == "latency":
        rows = tuple(tuple(_buckets(each, bounds) for each in node.latency) for node in nodes)
        return Side(nodes=names, samples=samples, buckets=rows)
    if spec.name in _SHARES:
        happened, exposed = _SHARES[spec.name]
        return Side(
            nodes=names,
            samples=samples,
            values=tuple(tuple(happened(node)) for node in nodes),
            exposure=tuple(tuple(exposed(node)) for node in nodes),
        )
    return Side(nodes=names, samples=samples, values=tuple(tuple(_GAUGES[spec.name](node)) for node in nodes))


_SHARES: Final[dict[str, tuple[Callable[[NodeIntervals], Series], Callable[[NodeIntervals], Series]]]] = {
    "errors": (lambda node: node.errors, lambda node: node.requests),
    "unhealthy": (lambda node: node.unhealthy, lambda node: node.probes),
}
_GAUGES: Final[dict[str, Callable[[NodeIntervals], Series]]] = {
    "cpu": lambda node: node.cpu_cores,
    "memory": lambda node: node.memory_bytes,
}


def _common_bounds(groups: Sequence[Nodes]) -> tuple[float, ...]:
    """The bounds that all histograms share: there the counts are exact even if a release changed others."""
    shapes = dict.fromkeys(
        each.bounds for group in groups for node in group for each in node.latency if each is not None
    )
    if not shapes:
        return ()
    first, *others = shapes
    return tuple(bound for bound in first if all(bound in other for other in others))


def _buckets(histogram: Histogram | None, bounds: tuple[float, ...]) -> tuple[float, ...] | None:
    if histogram is None or not bounds:
        return None
    upto = dict(zip(histogram.bounds, histogram.counts, strict=True))
    cumulative = [upto[bound] for bound in bounds]
    edges = [0.0, *cumulative, histogram.count]
    return tuple(max(0.0, after - before) for before, after in pairwise(edges))


def interval_count(interval: float, shortest: float = 2.0, most: int = 10) -> int:
    """Into how many intervals a look is cut: at least two seconds each, for agents sample every second."""
    return max(1, min(most, int(interval / shortest)))


def judge_look(
    number: int,
    *,
    start: float,
    end: float,
    metrics: tuple[MetricLook, ...],
    groups: tuple[Nodes, Nodes],
    even: bool,
) -> JudgeLook:
    """One look with what is known of both groups; `even`: every node should get as many requests."""
    canary, baseline = groups
    parts = max((len(node.requests) for node in canary), default=1)
    nodes = len(canary) + len(baseline)
    return JudgeLook(
        number=number,
        start=start,
        end=end,
        step=max((end - start) / max(1, parts), 1e-6),
        metrics=metrics,
        canary_nodes=sum(node.samples > 0 for node in canary),
        baseline_nodes=sum(node.samples > 0 for node in baseline),
        expected_share=len(canary) / nodes if even and canary and baseline else None,
        canary_requests=requests(canary),
        baseline_requests=requests(baseline),
    )
