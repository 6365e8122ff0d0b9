"""Metrics of a policy that Prometheus has: both sides of each, in the disjoint intervals of one look."""

import asyncio
import math
from collections.abc import Sequence

from clients.providers.http import ProviderHttp
from clients.providers.prometheus import PrometheusClient
from domain.errors import ProviderDown, ProviderRefused
from domain.measuring import circumstances
from domain.messages import AnalysisInput
from domain.metrics import MetricKind, MetricLook, Side
from domain.providers import PrometheusSource, filled
from domain.series import Series, ends, grown, histogram_side, plain_side


async def read_sources(
    http: ProviderHttp, request: AnalysisInput, *, start: float, end: float, parts: int
) -> tuple[MetricLook, ...]:
    """Each source's look between two instants. One that gives nothing says why, and is not judged.

    Intervals are of whole milliseconds, as Prometheus keeps time.
    """
    start, step = round(start, 3), math.floor((end - start) / parts * 1000) / 1000
    at = ends(start, end, step)[:parts] if step > 0 else ()
    reads = [_read(http, request, source, at, step) for source in request.rule.sources]
    return tuple(await asyncio.gather(*reads))


async def _read(
    http: ProviderHttp, request: AnalysisInput, source: PrometheusSource, at: Sequence[float], step: float
) -> MetricLook:
    reader = _Reader(http, request, source, at, step)
    try:
        bounds, canary = await reader.side(request.canary)
        other, baseline = await reader.side(request.baseline)
    except (ProviderDown, ProviderRefused) as error:
        return MetricLook(spec=source.spec, provider_down=error.message)
    if bounds != other and bounds and other:
        return MetricLook(spec=source.spec, provider_down="the sides have histograms of different buckets")
    return MetricLook(spec=source.spec, bounds=bounds or other, canary=canary, baseline=baseline)


class _Reader:
    """One source, asked for one side after the other."""

    def __init__(
        self,
        http: ProviderHttp,
        request: AnalysisInput,
        source: PrometheusSource,
        at: Sequence[float],
        step: float,
    ) -> None:
        self._client = PrometheusClient(http)
        self._around = circumstances(request)
        self._source = source
        self._at = at
        self._step = step

    async def side(self, nodes: tuple[str, ...]) -> tuple[tuple[float, ...], Side]:
        """The side's bounds, where it has any, and its rows."""
        source = self._source
        if source.histogram is not None:
            levels = await self._series(_buckets(source.histogram), nodes, cumulative=True)
            return histogram_side(levels, self._at, source.node_label, nodes)
        counts = source.cumulative and source.spec.kind is not MetricKind.GAUGE
        values = await self._series(source.query or "", nodes, cumulative=counts)
        exposure = None
        if source.exposure is not None:
            exposure = await self._series(source.exposure, nodes, cumulative=counts)
        return (), plain_side(values, exposure, self._at, source.node_label, nodes)

    async def _series(self, query: str, nodes: tuple[str, ...], *, cumulative: bool) -> tuple[Series, ...]:
        if not self._at:
            return ()
        found = await self._client.series(
            self._source.address,
            filled(query, self._around.values(nodes)),
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
