"""Nodes start only while enough of their zone are up: asked before each node, waited for, never assumed."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final

from sqlalchemy.ext.asyncio import AsyncSession

from activities.freezes import present_freeze
from activities.heartbeats import BatchProgress, beating
from domain.deployment import NodeFailure
from domain.errors import TooFewHealthy, ZoneShort
from domain.messages import NodesOrder, NodesOutcome
from domain.names import NodeName
from store import availability, rollouts
from store.database import Database

ASK_EVERY: Final = 2.0  # seconds; agents report every 10

Change = Callable[[NodesOrder], Awaitable[NodesOutcome]]
Mark = Callable[[AsyncSession, str, str, tuple[NodeName, ...], int], Awaitable[None]]


async def in_turn(
    database: Database, order: NodesOrder, change: Change, mark: Mark = rollouts.touch
) -> NodesOutcome:
    """Mark and change the nodes of a batch, as many at a time as the margin of their zones allows.

    In a freeze they are handed back untouched. Nodes that may not start within the order's deadline count as
    failed; nothing was done to them, and it counts against the release only where the rollout may be why.
    What changes is marked as touched, unless `mark` does something else.

    Raises:
        Conflict: the deployment is rolling back, or has ended.
    """
    if not BatchProgress().started and (freeze := await present_freeze(database, order)):
        return NodesOutcome(done=0, held=order.nodes, freeze=freeze)
    if not order.min_healthy:
        async with database.transaction(order.tenant) as session:
            await mark(session, order.tenant, order.deployment, order.nodes, order.wave)
        return await change(order)
    waiting, done = order.nodes, 0
    failures: list[NodeFailure] = []
    while waiting:
        part = await _admitted(database, order, waiting, mark)
        if not part:
            failures += await _not_started(database, order, waiting)
            break
        waiting = tuple(name for name in waiting if name not in part)
        outcome = await change(order.model_copy(update={"nodes": part}))
        done += outcome.done
        failures += outcome.failures
        if outcome.held:
            held = (*outcome.held, *waiting)
            return NodesOutcome(done=done, failures=tuple(failures), held=held, freeze=outcome.freeze)
    return NodesOutcome(done=done, failures=tuple(failures))


async def _not_started(
    database: Database, order: NodesOrder, waiting: tuple[NodeName, ...]
) -> list[NodeFailure]:
    async with database.transaction(order.tenant) as session:
        spoilt = await availability.spoilt_by(session, order.tenant, order.deployment, waiting)
    words = f"not started: too few healthy nodes in its zone for {order.deadline:g} s"
    return [
        NodeFailure(node=name, code=TooFewHealthy.code if name in spoilt else ZoneShort.code, message=words)
        for name in waiting
    ]


async def _admitted(
    database: Database, order: NodesOrder, waiting: tuple[NodeName, ...], mark: Mark
) -> tuple[NodeName, ...]:
    """Those that may start now, marked; none when the deadline has passed."""
    async with beating():
        for _ in range(max(1, int(order.deadline / ASK_EVERY))):
            async with database.transaction(order.tenant) as session:
                part = await availability.may_start(
                    session, order.tenant, order.deployment, waiting, order.min_healthy
                )
                if part:
                    await mark(session, order.tenant, order.deployment, part, order.wave)
                    return part
            await asyncio.sleep(ASK_EVERY)
    return ()
