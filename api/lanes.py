"""Handing deployments to their lanes, so that no accepted one is ever forgotten.

The row is the hand-over: a lane reads from the store what waits, a signal only wakes it. A request wakes
its lane at once; whatever was missed (this process died between the commit and the signal, Temporal was
away, somebody terminated the lane) is made good by `keep`.
"""

import asyncio
import logging
import time
from collections.abc import Sequence
from typing import Final

from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from temporalio.client import Client
from temporalio.common import WorkflowIDConflictPolicy
from temporalio.service import RPCError

from api.signals import PATIENCE
from domain.freeze_orders import FreezeOrder
from domain.messages import LaneInput
from domain.names import CONTROL_QUEUE, deployment_workflow_id, lane_id
from store import catching_up, freezes, lanes
from store.database import Database
from store.records import OpenLane

_log = logging.getLogger(__name__)

LANE_WORKFLOW: Final = "LaneWorkflow"
KEEP_EVERY: Final = 10.0  # seconds


async def wake(client: Client, tenant: str, environment: str, *, signal: str, body: object) -> None:
    """Signal the lane, starting it if need be.

    Raises:
        RPCError: Temporal does not answer, or refuses.
    """
    await client.start_workflow(
        LANE_WORKFLOW,
        LaneInput(tenant=tenant, environment=environment),
        id=lane_id(tenant, environment),
        task_queue=CONTROL_QUEUE,
        id_conflict_policy=WorkflowIDConflictPolicy.USE_EXISTING,
        start_signal=signal,
        start_signal_args=[body],
        static_summary=f"lane of {tenant}/{environment}",
        rpc_timeout=PATIENCE,
    )


async def thawed(client: Client, tenant: str, environment: str, held: Sequence[str]) -> None:
    """Tell the lane and what a freeze holds to look again; when Temporal is away, `keep` does it later."""
    try:
        await wake(client, tenant, environment, signal=FreezeOrder.THAW, body={})
        for deployment in held:
            handle = client.get_workflow_handle(deployment_workflow_id(deployment))
            await handle.signal(FreezeOrder.THAW, {}, rpc_timeout=PATIENCE)
    except RPCError as error:
        _log.warning("%s/%s is not told of the thaw yet: %s", tenant, environment, error)


async def submit(client: Client, tenant: str, environment: str, deployment: str) -> None:
    """Tell the lane of a new deployment; when Temporal is away, `keep` does it later."""
    try:
        await wake(client, tenant, environment, signal="submit", body={"deployment": deployment})
    except RPCError as error:
        _log.warning("%s waits for its lane to be woken: %s", deployment, error)


async def keep(client: Client, database: Database) -> None:
    """For ever: see to it that every lane with work runs and knows of what waits."""
    told: frozenset[str] = frozenset()
    while True:
        await asyncio.sleep(KEEP_EVERY)
        try:
            await catch_up(client, database)
            told = await look_after(client, database, told)
        except (RPCError, DBAPIError, PoolTimeout) as error:
            _log.warning("lanes are not looked after: %s", error)


async def catch_up(client: Client, database: Database) -> None:
    """Bring nodes that were away, and report again, to what is current in their environments."""
    async with database.system() as session:
        due = await catching_up.lanes_due(session)
    for lane in due:
        async with database.transaction(lane.tenant) as session:
            queued = await catching_up.queue(session, lane.tenant, lane.environment)
        for deployment in queued:
            await submit(client, lane.tenant, lane.environment, deployment)


async def look_after(client: Client, database: Database, told: frozenset[str]) -> frozenset[str]:
    """One round: start the lanes that do not run, and signal each waiting deployment once.

    Args:
        client: Temporal's.
        database: the store.
        told: the waiting deployments that were signalled in earlier rounds.

    Returns:
        Those that still wait and were signalled now or then.
    """
    async with database.system() as session:
        open_lanes = await lanes.with_work(session)
    for lane in open_lanes:
        fresh = [deployment for deployment in lane.queued if deployment not in told]
        await _thaw_what_is_held(client, database, lane)
        if fresh:
            await wake(client, lane.tenant, lane.environment, signal="submit", body={"deployment": fresh[-1]})
        else:
            await _ensure_running(client, lane.tenant, lane.environment)
    return frozenset(deployment for lane in open_lanes for deployment in lane.queued)


async def _thaw_what_is_held(client: Client, database: Database, lane: OpenLane) -> None:
    """A rollout or a queue that waits for the end of a freeze which is over: it missed the word of it."""
    async with database.transaction(lane.tenant) as session:
        held = await freezes.held(session, lane.tenant, lane.environment)
        waits = await freezes.missed_the_thaw(session, lane.tenant, lane.environment)
        over = (held or waits) and not await freezes.at(session, lane.tenant, lane.environment, time.time())
    if over:
        await thawed(client, lane.tenant, lane.environment, held)


async def _ensure_running(client: Client, tenant: str, environment: str) -> None:
    """Start the lane unless it runs; one that runs does not notice."""
    await client.start_workflow(
        LANE_WORKFLOW,
        LaneInput(tenant=tenant, environment=environment),
        id=lane_id(tenant, environment),
        task_queue=CONTROL_QUEUE,
        id_conflict_policy=WorkflowIDConflictPolicy.USE_EXISTING,
        static_summary=f"lane of {tenant}/{environment}",
        rpc_timeout=PATIENCE,
    )
