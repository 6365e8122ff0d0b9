"""One number for one side of the fleet, from its nodes' windows."""

from collections.abc import Sequence
from typing import Literal

from domain.windows import NodeWindow, merge, quantile

Pooled = Literal["errors", "latency", "unhealthy", "cpu", "memory"]
LATENCY_QUANTILE = 0.95


def pooled(side: Sequence[NodeWindow], metric: Pooled) -> float | None:
    """Shares of all requests or probes, the 95th percentile in seconds, or the mean over nodes.

    None where nothing was measured; absent is not zero.
    """
    if metric == "errors":
        return _share([node.errors for node in side], [node.requests for node in side])
    if metric == "unhealthy":
        return _share([float(node.unhealthy) for node in side], [float(node.probes) for node in side])
    if metric == "latency":
        together = merge([node.latency for node in side if node.latency is not None])
        return quantile(together, LATENCY_QUANTILE) if together is not None else None
    values = [node.cpu_cores if metric == "cpu" else node.memory_bytes for node in side]
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else None


def _share(parts: Sequence[float | None], wholes: Sequence[float | None]) -> float | None:
    whole = sum(each for each in wholes if each is not None)
    return sum(each for each in parts if each is not None) / whole if whole > 0 else None
