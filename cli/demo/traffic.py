"""`python -m cli.demo.traffic RATE`: steady HTTP traffic to every node, each answer counted.

Standard input names the endpoints (one JSON object, node → URL, on the first line); its end stops the
traffic. Standard output gets one `Slice` per quarter of a second and one `Failure` per request that failed.
Most requests go over kept connections, the rest over fresh ones, so that a swap is tried in both ways.
"""

import asyncio
import json
import sys
import time
from collections import Counter
from collections.abc import Mapping
from types import SimpleNamespace
from typing import Literal

import aiohttp

from domain.base import Frozen

SLICE = 0.25  # seconds that one output line covers
REQUEST_TIMEOUT = aiohttp.ClientTimeout(total=5.0)
KEPT_PER_NODE = 3  # kept connections per node, beside one sender that connects anew for every request
UNKNOWN = "?"


class Count(Frozen):
    """Answers of one node under one release."""

    node: str
    version: str
    requests: int


class Slice(Frozen):
    """What was answered (or failed) up to `at`, seconds since the epoch, since the slice before."""

    kind: Literal["slice"] = "slice"
    at: float
    counts: tuple[Count, ...]


class Failure(Frozen):
    """A request that got no 2xx answer at the first try: when it began and ended, where, and why.

    The client sends a GET again by itself when its connection was lost (RFC 9110 §9.2.2 lets it); such a
    request counts as failed here, whatever became of it, for not every client and method can do that.
    """

    kind: Literal["failure"] = "failure"
    began: float
    ended: float
    node: str
    version: str
    reason: str


class Load:
    """Senders to all nodes, and what they saw."""

    def __init__(self, endpoints: Mapping[str, str], *, rate: float) -> None:
        """Prepare `rate` requests per second in all, spread evenly."""
        self._endpoints = endpoints
        self._period = len(endpoints) * (KEPT_PER_NODE + 1) / rate
        self._counts: Counter[tuple[str, str]] = Counter()

    async def run(self, stop: asyncio.Event) -> None:
        """Send until told to stop; what is under way is waited for and counted."""
        async with asyncio.TaskGroup() as tasks:
            senders = len(self._endpoints) * (KEPT_PER_NODE + 1)
            for index in range(senders):
                node = list(self._endpoints)[index % len(self._endpoints)]
                fresh = index < len(self._endpoints)
                delay = self._period * index / senders
                tasks.create_task(self._send_steadily(node, stop, fresh=fresh, delay=delay))
            tasks.create_task(self._report(stop))
        self._print_slice()

    async def _send_steadily(self, node: str, stop: asyncio.Event, *, fresh: bool, delay: float) -> None:
        connector = aiohttp.TCPConnector(limit=1, force_close=fresh)
        async with aiohttp.ClientSession(
            connector=connector, timeout=REQUEST_TIMEOUT, trace_configs=[_attempts_counted()]
        ) as session:
            due = time.monotonic() + delay
            while not stop.is_set():
                await asyncio.sleep(max(0.0, due - time.monotonic()))
                await self._send(session, node)
                due = max(due + self._period, time.monotonic() - self._period)

    async def _send(self, session: aiohttp.ClientSession, node: str) -> None:
        began = time.time()
        version, fault = UNKNOWN, None
        attempts: Counter[str] = Counter()
        try:
            async with session.get(self._endpoints[node], trace_request_ctx=attempts) as answer:
                content = await answer.json()
                version = content.get("version", UNKNOWN)
                if not answer.ok:
                    fault = f"HTTP {answer.status}"
                elif attempts.total() > 1:
                    fault = "the connection was lost, and the request sent again"
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
            fault = f"{type(error).__name__}: {error}"
        self._counts[node, version] += 1
        if fault is not None:
            _print(Failure(began=began, ended=time.time(), node=node, version=version, reason=fault))

    async def _report(self, stop: asyncio.Event) -> None:
        while not stop.is_set():
            await asyncio.sleep(SLICE)
            self._print_slice()

    def _print_slice(self) -> None:
        counts = tuple(
            Count(node=node, version=version, requests=n) for (node, version), n in self._counts.items()
        )
        self._counts.clear()
        _print(Slice(at=time.time(), counts=counts))


def _attempts_counted() -> aiohttp.TraceConfig:
    """Counts, in the request's own context, how often it was given a connection."""
    trace = aiohttp.TraceConfig()

    async def count(_: aiohttp.ClientSession, context: SimpleNamespace, __: object) -> None:
        context.trace_request_ctx["attempts"] += 1

    trace.on_connection_reuseconn.append(count)
    trace.on_connection_create_start.append(count)
    return trace


def _print(line: Slice | Failure) -> None:
    sys.stdout.write(line.model_dump_json() + "\n")
    sys.stdout.flush()


async def main(rate: float) -> None:
    """Read the endpoints, send until standard input ends."""
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    endpoints: dict[str, str] = json.loads(await reader.readline())
    stop = asyncio.Event()
    load = asyncio.create_task(Load(endpoints, rate=rate).run(stop))
    await reader.read()
    stop.set()
    await load


if __name__ == "__main__":
    asyncio.run(main(float(sys.argv[1])))
