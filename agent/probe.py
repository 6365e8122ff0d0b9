"""Looking at a running module over HTTP: its health, and its Prometheus metrics."""

import asyncio
import math
import time
from collections.abc import Iterable
from dataclasses import dataclass

import aiohttp
from prometheus_client.metrics_core import Metric
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.samples import Sample as Point

from domain.manifest import HttpCheck, Metrics
from domain.wire import Histogram

SCRAPE_LIMIT = 4 * 1024 * 1024
SCRAPE_TIMEOUT = 2.0
PAUSE = 0.05  # seconds between two questions to a process that is starting


@dataclass(frozen=True, slots=True)
class Health:
    """One answer of a health probe and how long it took, in seconds."""

    ok: bool
    seconds: float


@dataclass(frozen=True, slots=True)
class Scraped:
    """What a module says of itself; None where it says nothing."""

    requests: float | None = None
    errors: float | None = None
    latency: Histogram | None = None


class Prober:
    """Asks modules over plain HTTP, each time on a new connection, as a new client would."""

    def __init__(self) -> None:
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(force_close=True, limit=0), cookie_jar=aiohttp.DummyCookieJar()
        )

    async def close(self) -> None:
        """Let go of the connections."""
        await self._session.close()

    async def healthy(self, url: str, limit: float) -> None:
        """Ask until the answer is a healthy one."""
        while not (await self.health(url, limit)).ok:  # noqa: ASYNC110 - nothing here could be waited for
            await asyncio.sleep(PAUSE)

    async def health(self, url: str, limit: float) -> Health:
        """Healthy is a 2xx answer within `limit` seconds."""
        started = time.monotonic()
        try:
            async with self._session.get(
                url, timeout=aiohttp.ClientTimeout(total=limit), allow_redirects=False
            ) as answer:
                ok = 200 <= answer.status < 300
        except (aiohttp.ClientError, OSError, TimeoutError):
            ok = False
        return Health(ok, time.monotonic() - started)

    async def fault(self, url: str, check: HttpCheck) -> str | None:
        """What is wrong with an answer, in words; None when it is as the check wants it."""
        limit = aiohttp.ClientTimeout(total=check.timeout)
        try:
            async with self._session.get(url, timeout=limit, allow_redirects=False) as answer:
                body = await answer.content.read(SCRAPE_LIMIT)
                if answer.status != check.status:
                    return f"answers with status {answer.status}, not {check.status}"
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            return f"does not answer: {error or type(error).__name__}"
        if check.contains.encode() not in body:
            return f"answers without {check.contains!r}"
        return None

    async def scrape(self, url: str, names: Metrics) -> Scraped:
        """Read a Prometheus endpoint; nothing is known when it does not answer properly."""
        try:
            async with self._session.get(url, timeout=aiohttp.ClientTimeout(total=SCRAPE_TIMEOUT)) as answer:
                answer.raise_for_status()
                body = bytearray()
                async for chunk in answer.content.iter_any():
                    body += chunk
                    if len(body) > SCRAPE_LIMIT:
                        return Scraped()
            return parse(body.decode("utf-8"), names)
        except (aiohttp.ClientError, OSError, TimeoutError, ValueError):
            return Scraped()


def parse(text: str, names: Metrics) -> Scraped:
    """Pick the judge's metrics out of an exposition: counters and histograms summed over their labels.

    A counter that is declared but has no series yet is zero; one that is not declared is None.

    Raises:
        ValueError: not Prometheus's text format.
    """
    families = list(text_string_to_metric_families(text))
    return Scraped(
        requests=_counter(families, names.requests),
        errors=_counter(families, names.errors),
        latency=_histogram(families, names.latency),
    )


def _counter(families: Iterable[Metric], name: str) -> float | None:
    # The parser takes "_total" off a counter's family, and leaves it on its samples.
    family = next((each for each in families if each.name in (name, name.removesuffix("_total"))), None)
    if family is None:
        return None
    total = math.fsum(point.value for point in family.samples if point.name == name)
    return total if math.isfinite(total) else None


def _histogram(families: Iterable[Metric], name: str) -> Histogram | None:
    family = next((each for each in families if each.name == name and each.type == "histogram"), None)
    points: list[Point] = family.samples if family is not None else []
    buckets: dict[float, float] = {}
    for point in points:
        if point.name == f"{name}_bucket":
            bound = float(point.labels["le"])
            buckets[bound] = buckets.get(bound, 0.0) + point.value
    count = math.fsum(point.value for point in points if point.name == f"{name}_count")
    total = math.fsum(point.value for point in points if point.name == f"{name}_sum")
    bounds = sorted(bound for bound in buckets if math.isfinite(bound))
    if not bounds or not math.isfinite(count) or not math.isfinite(total):
        return None
    return Histogram(
        bounds=tuple(bounds), counts=tuple(buckets[bound] for bound in bounds), count=count, total=total
    )
