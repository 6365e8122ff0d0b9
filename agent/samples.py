"""Samples of running modules: taken on a clock, kept in a bounded ring per release."""

import asyncio
import logging
import time
from collections import OrderedDict, deque

from agent import procfs
from agent.drivers.base import Driver, Host, Subject
from agent.probe import Health, Scraped
from domain.wire import Sample

KEPT = 900  # samples per release
RELEASES = 4  # releases per module
TIDY_EVERY = 10  # samples between two looks at the size of logs

_log = logging.getLogger(__name__)


class SampleRing:
    """The newest samples of a module, release by release."""

    def __init__(self) -> None:
        self._rings: OrderedDict[str, deque[Sample]] = OrderedDict()

    def add(self, sample: Sample) -> None:
        """Keep a sample; the oldest of its release, and the oldest release, fall out."""
        ring = self._rings.setdefault(sample.version, deque(maxlen=KEPT))
        ring.append(sample)
        self._rings.move_to_end(sample.version)
        while len(self._rings) > RELEASES:
            self._rings.popitem(last=False)

    def since(self, at: float) -> tuple[Sample, ...]:
        """All samples newer than `at`, in order of time."""
        found = [sample for ring in self._rings.values() for sample in ring if sample.at > at]
        return tuple(sorted(found, key=lambda sample: sample.at))


class Sampler:
    """Looks at one module's process again and again until stopped."""

    def __init__(self, host: Host, driver: Driver, ring: SampleRing) -> None:
        self._host = host
        self._driver = driver
        self._ring = ring
        self._probed = (0.0, "", Health(ok=False, seconds=0.0))
        self._task = asyncio.create_task(self._run())

    async def stop(self) -> None:
        """End it."""
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)

    async def _run(self) -> None:
        taken = 0
        period = self._host.config.sample_seconds
        while True:
            due = time.monotonic() + period
            try:
                await self._take()
                taken += 1
                if taken % TIDY_EVERY == 0:
                    await self._driver.tidy()
            except OSError as error:
                _log.warning("a sample was not taken: %s", error)
            await asyncio.sleep(max(0.0, due - time.monotonic()))

    async def _take(self) -> None:
        subject = self._driver.subject()
        if subject is None:
            return
        at = time.time()
        health = await self._health(subject)
        scraped = await self._scrape(subject)
        usage = await self._host.pool.run(procfs.usage, subject.pid)
        if usage is None or self._driver.subject() != subject:
            return  # it ended, or another one answers on the same sockets by now
        self._ring.add(
            Sample(
                at=at,
                version=subject.version,
                instance=subject.instance,
                age=procfs.age(subject.started),
                probe_ok=health.ok if health is not None else None,
                probe_seconds=health.seconds if health is not None else None,
                cpu_seconds=usage.cpu_seconds,
                memory_bytes=usage.memory_bytes,
                requests=scraped.requests,
                errors=scraped.errors,
                latency=scraped.latency,
            )
        )

    async def _health(self, subject: Subject) -> Health | None:
        """A fresh answer when the manifest's interval is over; None in between."""
        if subject.probe is None or subject.probe_url is None:
            return None
        asked, instance, _ = self._probed
        if instance == subject.instance and time.monotonic() - asked < subject.probe.interval * 0.95:
            return None
        health = await self._host.prober.health(subject.probe_url, subject.probe.timeout)
        self._probed = (time.monotonic(), subject.instance, health)
        return health

    async def _scrape(self, subject: Subject) -> Scraped:
        if subject.metrics is None or subject.metrics_url is None:
            return Scraped()
        return await self._host.prober.scrape(subject.metrics_url, subject.metrics)
