"""Handing promotions to their workflows, so that no accepted one is ever forgotten.

As with lanes the row is the hand-over: a request starts the workflow at once, and `look_after` makes good
whatever was missed.
"""

import asyncio
import logging
from contextlib import suppress
from typing import Final

from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from temporalio.client import Client
from temporalio.common import WorkflowIDConflictPolicy, WorkflowIDReusePolicy
from temporalio.exceptions import WorkflowAlreadyStartedError
from temporalio.service import RPCError

from api.lanes import KEEP_EVERY
from api.signals import PATIENCE, signal
from domain.console import clip
from domain.deployment import Cause, CauseKind
from domain.errors import Conflict, IllegalTransition
from domain.events import EventKind
from domain.names import CONTROL_QUEUE, promotion_workflow_id
from domain.promotion import PromotionPhase
from domain.promotion_messages import PromotionInput, PromotionProgress
from store import promotions
from store.database import Database

_log = logging.getLogger(__name__)

RELEASE_WORKFLOW: Final = "ReleaseWorkflow"
LOOK_AGAIN: Final = "look"


async def start(client: Client, request: PromotionInput) -> None:
    """Start the promotion's workflow; one that runs already does not notice.

    Raises:
        WorkflowAlreadyStartedError: it has run to an end before, whatever that was.
        RPCError: Temporal does not answer.
    """
    release = f"{request.module} {request.version}"
    await client.start_workflow(
        RELEASE_WORKFLOW,
        request,
        id=promotion_workflow_id(request.promotion),
        task_queue=CONTROL_QUEUE,
        id_conflict_policy=WorkflowIDConflictPolicy.USE_EXISTING,
        id_reuse_policy=WorkflowIDReusePolicy.REJECT_DUPLICATE,
        static_summary=clip(f"{release} through the environments of {request.tenant}"),
        rpc_timeout=PATIENCE,
    )


async def submit(client: Client, request: PromotionInput) -> None:
    """Start the workflow of a new promotion; when Temporal is away, `look_after` does it later."""
    try:
        await start(client, request)
    except RPCError as error:
        _log.warning("promotion %s waits to be started: %s", request.promotion, error)


async def keep(client: Client, database: Database) -> None:
    """For ever: see to it that every promotion that has not ended runs and knows of what has ended."""
    while True:
        await asyncio.sleep(KEEP_EVERY)
        try:
            await look_after(client, database)
        except (RPCError, DBAPIError, PoolTimeout) as error:
            _log.warning("promotions are not looked after: %s", error)


async def look_after(client: Client, database: Database) -> None:
    """One round: start what does not run, wake what has something to do, end what was terminated.

    Raises:
        RPCError: Temporal does not answer.
    """
    async with database.system() as session:
        waiting = await promotions.under_way(session)
    for each in waiting:
        async with database.transaction(each.tenant) as session:
            request = await promotions.request_of(session, each.tenant, each.promotion)
        try:
            await start(client, request)
        except WorkflowAlreadyStartedError:
            await _write_end(database, request)
            continue
        if each.due:
            await _wake(client, each.promotion)


async def _wake(client: Client, promotion: str) -> None:
    with suppress(Conflict):  # it has ended meanwhile
        await signal(client, promotion_workflow_id(promotion), LOOK_AGAIN, {}, over=f"{promotion} is over")


async def _write_end(database: Database, request: PromotionInput) -> None:
    """The workflow is gone and left no end: somebody terminated it. What it has reached stays as it is."""
    words = "the promotion's workflow was terminated; its environments stay as they are"
    progress = PromotionProgress(
        tenant=request.tenant,
        promotion=request.promotion,
        key="terminated",
        event=EventKind.PROMOTION_FINISHED,
        message=words,
        phase=PromotionPhase.STOPPED,
        cause=Cause(kind=CauseKind.TERMINATED, message=words),
    )
    try:
        async with database.transaction(request.tenant) as session:
            await promotions.record(session, progress)
    except IllegalTransition as error:
        _log.info("promotion %s: %s", request.promotion, error.message)
