"""Waking lanes after a request was answered, once for all that came meanwhile.

The row is the hand-over (api.lanes): a signal only says "look again", so one that is lost costs time, never a
deployment. A request therefore waits for no signal, and of many requests for one lane few signals come.
"""

import asyncio
from contextvars import Context, copy_context
from functools import partial
from typing import Final

from temporalio.client import Client

from api.lanes import submit

PAUSE: Final = 0.25  # seconds from one signal of a lane to the next

Lane = tuple[str, str]  # tenant, environment


class Bell:
    """One per process. A lane is told at once; what comes in the next moments, together."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._waiting: dict[Lane, tuple[str, Context]] = {}
        self._ringing: dict[Lane, asyncio.Task[None]] = {}

    def ring(self, tenant: str, environment: str, deployment: str) -> None:
        """Have the lane look at what waits; the deployment's row is committed."""
        lane = (tenant, environment)
        self._waiting[lane] = (deployment, copy_context())
        if lane not in self._ringing:
            self._next(lane)

    def _next(self, lane: Lane, _before: asyncio.Task[None] | None = None) -> None:
        waiting = self._waiting.pop(lane, None)
        if waiting is None:
            self._ringing.pop(lane, None)
            return
        deployment, request = waiting
        task = asyncio.create_task(self._tell(lane, deployment), context=request)  # in the request's trace
        self._ringing[lane] = task
        task.add_done_callback(partial(self._next, lane))

    async def _tell(self, lane: Lane, deployment: str) -> None:
        await submit(self._client, *lane, deployment)
        await asyncio.sleep(PAUSE)

    async def rest(self) -> None:
        """Wait until every lane was told of all that came."""
        while self._ringing:
            await asyncio.wait(self._ringing.values())
