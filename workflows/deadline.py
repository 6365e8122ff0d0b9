"""A deployment's own time: one durable timer that stands still while people decide."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta

from temporalio import workflow


class Deadline:
    """Counts from `start`; `rung` says that the time is up."""

    def __init__(self) -> None:
        self._left = 0.0
        self._began = 0.0
        self._timer: asyncio.Task[None] | None = None
        self.rung = False

    def start(self, seconds: float) -> None:
        """So much time from now on."""
        self._left = seconds
        self._run()

    def stop(self) -> None:
        """The time no longer matters, or stands still."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
            self._left -= workflow.time() - self._began

    def extend(self, seconds: float) -> None:
        """So much more time, or less."""
        running = self._timer is not None
        self.stop()
        self._left += seconds
        if running:
            self._run()

    @contextmanager
    def held(self) -> Iterator[None]:
        """Within the block the time is people's, not the deployment's."""
        running = self._timer is not None
        self.stop()
        try:
            yield
        finally:
            # Where a worker ends, what it had in its cache is dropped outside of any workflow's time.
            if running and workflow.in_workflow():
                self._run()

    def _run(self) -> None:
        self._began = workflow.time()
        self._timer = asyncio.create_task(self._ring(max(0.0, self._left)))

    async def _ring(self, seconds: float) -> None:
        await workflow.sleep(timedelta(seconds=seconds), summary="the deployment's deadline")
        self.rung = True
