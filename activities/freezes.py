"""Freezes: what people order, and the question that is asked before any node is started."""

import time

from temporalio import activity
from typing_extensions import override

from activities.orders import Freezes
from domain.freeze import Freeze
from domain.freeze_orders import AdHocFreeze, FreezeQuestion, Thaw
from domain.messages import NodesOrder
from store import freezes
from store.database import Database


class DatabaseFreezes(Freezes):
    """Short transactions on our own database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    @activity.defn
    @override
    async def freeze_now(self, order: AdHocFreeze) -> None:
        async with self._database.transaction(order.tenant) as session:
            await freezes.freeze(session, order)

    @activity.defn
    @override
    async def thaw(self, order: Thaw) -> tuple[str, ...]:
        async with self._database.transaction(order.tenant) as session:
            await freezes.thaw(session, order)
            return tuple(await freezes.held(session, order.tenant, order.environment))

    @activity.defn
    @override
    async def may_start(self, question: FreezeQuestion) -> Freeze | None:
        return await freeze_of(self._database, question)


async def freeze_of(database: Database, question: FreezeQuestion) -> Freeze | None:
    """The freeze that holds a deployment at a moment, as the store has it now."""
    async with database.transaction(question.tenant) as session:
        return await freezes.holding(
            session, question.tenant, question.environment, question.deployment, question.at
        )


async def present_freeze(database: Database, order: NodesOrder) -> Freeze | None:
    """The freeze that forbids starting a node of this order now, by this machine's clock."""
    return await freeze_of(
        database,
        FreezeQuestion(
            tenant=order.tenant, environment=order.environment, deployment=order.deployment, at=time.time()
        ),
    )
