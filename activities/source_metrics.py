"""Metrics of a policy that Prometheus has: both sides of each, in the disjoint intervals of one look."""

import asyncio
import math
from collections.abc import Sequence
from dataclasses import dataclass

from clients.providers.http import ProviderHttp
from clients.providers.prometheus import PrometheusClient
from domain.errors import ProviderDown, ProviderRefused
from domain.measuring import circumstances
from domain.messages import AnalysisInput
from domain.metrics import MetricKind, MetricLook, Side
from domain.providers import PrometheusSource, filled
from domain.series import Series, ends, grown, histogram_side, plain_side


async def read_sources(
    http: ProviderHttp, request: AnalysisInput, *, start: float, end: float, parts: int, back: float = 0.0
) -> tuple[MetricLook, ...]:
    """Each source's look between two instants. One that gives nothing says why, and is not judged.

    The baseline are its nodes at the same time or, with `back`, the canary's so many seconds earlier.
    Intervals are of whole milliseconds, as Prometheus keeps time.
    """
    start, step = round(start, 3), math.floor((end - start) / parts * 1000) / 1000
    at = ends(start, end, step)[:parts] if step > 0 else ()
    back = round(back, 3)
    canary = _Group(request.canary, at, step)
    baseline = _Group(request.canary if back else request.baseline, tuple(each - back for each in at), step)
    reads = [_read(http, request, source, canary, baseline) for source in request.rule.sources]
    return tuple(await asyncio.gather(*reads))


@dataclass(frozen=True, slots=True)
class _Group:
    """One side: its nodes, and where each of its intervals ends."""

    nodes: tuple[str, ...]
    at: Sequence[float]
    step: float


async def _read(
    http: ProviderHttp, request: AnalysisInput, source: PrometheusSource, one: _Group, other: _Group
) -> MetricLook:
    try:
        bounds, canary = await _Reader(http, request, source, one).side()
        others, baseline = await _Reader(http, request, source, other).side()
    except (ProviderDown, ProviderRefused) as error:
        return MetricLook(spec=source.spec, provider_down=error.message)
    if bounds != others and bounds and others:
        return MetricLook(spec=source.spec, provider_down="the sides have histograms of different buckets")
    return MetricLook(spec=source.spec, bounds=bounds or others, canary=canary, baseline=baseline)


class _Reader:
    """One source, asked for one side."""

    def __init__(
        self, http: ProviderHttp, request: AnalysisInput, source: PrometheusSource, group: _Group
    ) -> None:
        self._client = PrometheusClient(http)
        self._around = circumstances(request)
        self._source = source
        self._nodes = group.nodes
        self._at = group.at
        self._step = group.step

    async def side(self) -> tuple[tuple[float, ...], Side]:
        """The side's bounds, where it has any, and its rows."""
        source, nodes = self._source, self._nodes
        if source.histogram is not None:
            levels = await self._series(_buckets(source.histogram), cumulative=True)
            return histogram_side(levels, self._at, source.node_label, nodes)
        counts = source.cumulative and source.spec.kind is not MetricKind.GAUGE
        values = await self._series(source.query or "", cumulative=counts)
        exposure = None
        if source.exposure is not None:
            exposure = await self._series(source.exposure, cumulative=counts)
        return (), plain_side(values, exposure, self._at, source.node_label, nodes)

    async def _series(self, query: str, *, cumulative: bool) -> tuple[Series, ...]:
        if not self._at:
            return ()
        found = await self._client.series(
            self._source.address,
            filled(query, self._around.values(self._nodes)),
            start=self._at[0] - self._step,
            end=self._at[-1],
            step=self._step,
            timeout=self._source.timeout,
        )
        return grown(found, self._at, self._step) if cumulative else found


def _buckets(selector: str) -> str:
    """The bucket series of a classic histogram's selector."""
    name, brace, labels = selector.partition("{")
    return f"{name.strip()}_bucket{brace}{labels}"
