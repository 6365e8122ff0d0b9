"""Waiting: for a condition or the clock, and for work that a cancellation meets."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any, TypeVar

from temporalio import workflow

Result = TypeVar("Result")


async def within(seconds: float | None, condition: Callable[[], bool], summary: str | None = None) -> bool:
    """Whether the condition comes to hold within so many seconds; None waits for as long as it takes.

    It counts as in time where both come at once.
    """
    timeout = timedelta(seconds=seconds) if seconds is not None else None
    try:
        await workflow.wait_condition(condition, timeout=timeout, timeout_summary=summary)
    except TimeoutError:
        return condition()
    return True


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
