"""Keeps one slot's process running: starts it, and again when it ends, waiting longer each time."""

import asyncio
import logging
import time

from agent.drivers.base import Host
from agent.drivers.instance import Instance
from agent.drivers.processes import Processes
from agent.records import Slot
from domain.errors import HotswapError

FIRST_PAUSE = 0.5  # seconds before the first restart; doubles up to
LONGEST_PAUSE = 60.0
STEADY = 60.0  # seconds of running after which a crash counts as the first again

_log = logging.getLogger(__name__)


class Supervisor:
    """Watches over `slot`. `instance` is what runs; `problem` says why nothing does."""

    def __init__(self, slot: Slot, processes: Processes, host: Host, instance: Instance | None) -> None:
        self.slot = slot
        self.instance = instance
        self.problem: str | None = None
        self.starting = instance is None
        self.up = asyncio.Event()
        self._processes = processes
        self._host = host
        self._restarts = instance.record.restarts if instance is not None else 0
        self._stopping = asyncio.Event()
        if instance is not None:
            self.up.set()
        self._task = asyncio.create_task(self._run())

    async def stop(self) -> None:
        """Stop watching over it; the process itself goes on. A start under way is given up."""
        self._stopping.set()
        await self._task

    async def _run(self) -> None:
        failures = 0
        while not self._stopping.is_set():
            if self.instance is None and not await self._start():
                failures += 1
            if self.instance is not None:
                lasted = await self._outlast(self.instance)
                failures = 1 if lasted > STEADY else failures + 1
            await self._pause(failures)

    async def _start(self) -> bool:
        self.starting = True
        try:
            self.instance = await self._processes.start(
                self.slot, restarts=self._restarts, abandon=self._stopping
            )
        except (HotswapError, OSError) as error:
            self.problem = str(error)
            return False
        finally:
            self.starting = False
        self.problem = None
        self.up.set()
        return True

    async def _outlast(self, instance: Instance) -> float:
        """Wait until the process ends, or supervision does; return how long that took, in seconds."""
        since = time.monotonic()
        stopping = asyncio.ensure_future(self._stopping.wait())
        await asyncio.wait((instance.exited, stopping), return_when=asyncio.FIRST_COMPLETED)
        stopping.cancel()
        if not instance.alive:
            self.up.clear()
            self.instance = None
            self._restarts += 1
            self.problem = f"process {instance.pid} of {self.slot.release} {instance.exited.result()}"
            self._host.metrics.restarts.labels(self.slot.release.module).inc()
            await instance.clear()
        return time.monotonic() - since

    async def _pause(self, failures: int) -> None:
        if self._stopping.is_set():
            return
        pause = min(LONGEST_PAUSE, FIRST_PAUSE * 2 ** min(failures - 1, 16))
        _log.warning("%s; restart %d in %g s", self.problem, self._restarts, pause)
        try:
            await asyncio.wait_for(self._stopping.wait(), pause)
        except TimeoutError:
            return
