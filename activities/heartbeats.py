"""Heartbeats of a batch: the worker lives, and these nodes are done."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from temporalio import activity

from domain.deployment import NodeFailure

INTERVAL = 2.0  # seconds; the heartbeat time-outs in workflows.options are several times longer


class BatchProgress:
    """Which nodes of a batch are finished; a retry after a crash starts from what was last heartbeated.

    `started` names those that were begun: a freeze lets them be finished.
    """

    def __init__(self) -> None:
        details = activity.info().heartbeat_details
        self.done: list[str] = list(details[0]) if details else []
        self.failures: list[NodeFailure] = (
            [NodeFailure.model_validate(each) for each in details[1]] if details else []
        )
        self.started: list[str] = list(details[2]) if len(details) > 2 else []

    def finished(self) -> frozenset[str]:
        """Nodes that need not be driven again."""
        return frozenset((*self.done, *(failure.node for failure in self.failures)))

    def beat(self) -> None:
        """Tell the server what is begun and what is finished."""
        failures = [failure.model_dump(mode="json") for failure in self.failures]
        activity.heartbeat(self.done, failures, self.started)

    def begin(self, node: str) -> None:
        """A node is about to be driven."""
        if node not in self.started:
            self.started.append(node)
        self.beat()


@asynccontextmanager
async def beating(progress: BatchProgress | None = None) -> AsyncIterator[None]:
    """Heartbeat every INTERVAL seconds while the block runs."""

    async def beat_on() -> None:
        while True:
            if progress is None:
                activity.heartbeat()
            else:
                progress.beat()
            await asyncio.sleep(INTERVAL)

    task = asyncio.create_task(beat_on())
    try:
        yield
    finally:
        task.cancel()
