"""A promotion's hands: its record, and the deployments that it queues."""

from temporalio import activity
from temporalio.client import Client
from temporalio.service import RPCError, RPCStatusCode
from typing_extensions import override

from activities.promotion_orders import Promotions
from domain.names import promotion_workflow_id
from domain.promotion_messages import (
    DeploymentKey,
    PromotionInput,
    PromotionProgress,
    PromotionTerms,
    QueuedRollback,
    StageOrder,
    StageRollback,
    Standing,
    WithdrawOrder,
)
from store import deployments, promotion_queue, promotions
from store.database import Database

LOOK_AGAIN = "look"


class DatabasePromotions(Promotions):
    """Short transactions on our own database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    @activity.defn
    @override
    async def promotion_terms(self, request: PromotionInput) -> PromotionTerms:
        async with self._database.transaction(request.tenant) as session:
            return await promotions.terms(session, request.tenant, request.promotion)

    @activity.defn
    @override
    async def record_promotion(self, progress: PromotionProgress) -> None:
        async with self._database.transaction(progress.tenant) as session:
            await promotions.record(session, progress)

    @activity.defn
    @override
    async def queue_stage(self, order: StageOrder) -> str:
        async with self._database.transaction(order.promotion.tenant) as session:
            return await promotion_queue.queue_stage(session, order)

    @activity.defn
    @override
    async def queue_rollback(self, order: StageRollback) -> QueuedRollback:
        async with self._database.transaction(order.promotion.tenant) as session:
            return await promotion_queue.queue_rollback(session, order)

    @activity.defn
    @override
    async def standing(self, key: DeploymentKey) -> Standing:
        async with self._database.transaction(key.tenant) as session:
            return await promotion_queue.standing(session, key.tenant, key.deployment)

    @activity.defn
    @override
    async def withdraw_stage(self, order: WithdrawOrder) -> bool:
        async with self._database.transaction(order.tenant) as session:
            return await deployments.withdraw(session, order.tenant, order.deployment, order.cause)


async def tell(client: Client, database: Database, tenant: str, deployment: str) -> None:
    """Let the promotion that waits for a deployment, if one does, look at it again.

    A promotion that has ended meanwhile need not know.

    Raises:
        RPCError: Temporal does not answer.
    """
    async with database.transaction(tenant) as session:
        promotion = await promotions.waiting_on(session, tenant, deployment)
    if promotion is None:
        return
    try:
        handle = client.get_workflow_handle(promotion_workflow_id(promotion))
        await handle.signal(LOOK_AGAIN, {"deployment": deployment})
    except RPCError as error:
        if error.status is not RPCStatusCode.NOT_FOUND:
            raise
