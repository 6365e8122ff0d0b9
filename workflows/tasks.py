"""Two ways to treat work that a cancellation meets: end it and wait, or let nothing end it."""

import asyncio
from collections.abc import Awaitable
from typing import Any, TypeVar

from temporalio import workflow

Result = TypeVar("Result")


async def settle(task: asyncio.Future[Any]) -> None:
    """Cancel what is still under way and wait until it really is over."""
    if task.done():
        return
    task.cancel()
    await workflow.wait([task])
    if not task.cancelled():
        task.exception()


async def to_the_end(work: Awaitable[Result]) -> Result:
    """Finish `work` even when this workflow is cancelled meanwhile.

    One asyncio.shield is not enough: after it raises, the workflow would return and its work be cancelled.
    """
    task = asyncio.ensure_future(work)
    while not task.done():
        try:
            await asyncio.shield(task)
        except asyncio.CancelledError:
            workflow.logger.info("cancelled while turning back: going on to the end")
    return task.result()
