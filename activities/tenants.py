"""The hands of tenants' workflows."""

import asyncio
from typing import Final

from temporalio import activity
from temporalio.client import Client
from temporalio.service import RPCError, RPCStatusCode
from typing_extensions import override

from activities.heartbeats import beating
from activities.tenant_orders import Tenancy
from domain.deployment import Cause, CauseKind
from domain.names import lane_id
from domain.tenancy import TenantMove, TenantOrder, TenantPart
from store import deployments, environments, quotas, tenants
from store.database import Database

LOOK_EVERY: Final = 2.0  # seconds between two looks for what is still under way


class DatabaseTenancy(Tenancy):
    """Short transactions in the tenant's own context."""

    def __init__(self, database: Database, client: Client) -> None:
        self._database = database
        self._client = client

    @activity.defn
    @override
    async def make_tenant_part(self, part: TenantPart) -> None:
        async with self._database.transaction(part.order.tenant) as session:
            await tenants.make(session, part.order, part.step)

    @activity.defn
    @override
    async def undo_tenant_part(self, part: TenantPart) -> None:
        async with self._database.transaction(part.order.tenant) as session:
            await tenants.undo(session, part.order, part.step)

    @activity.defn
    @override
    async def move_tenant(self, move: TenantMove) -> None:
        async with self._database.transaction(move.tenant) as session:
            await tenants.move_to(session, move.tenant, move.to, actor=move.actor, reason=move.reason)

    @activity.defn
    @override
    async def quiet_tenant(self, order: TenantOrder) -> None:
        words = f"the tenant is being taken away by {order.actor}"
        cause = Cause(kind=CauseKind.ABORTED, message=words, actor=order.actor)
        async with beating():
            while True:
                if not await self._under_way(order.tenant, cause):
                    return
                await asyncio.sleep(LOOK_EVERY)

    async def _under_way(self, tenant: str, cause: Cause) -> int:
        """How many deployments have not ended; those that wait for their turn are withdrawn first."""
        async with self._database.transaction(tenant) as session:
            waiting = await deployments.waiting(session, tenant)
        for deployment in waiting:
            async with self._database.transaction(tenant) as session:
                await deployments.withdraw(session, tenant, deployment, cause)
        async with self._database.transaction(tenant) as session:
            return (await quotas.usage(session, tenant)).deployments

    @activity.defn
    @override
    async def erase_tenant(self, order: TenantOrder) -> None:
        async with self._database.transaction(order.tenant) as session:
            known = await environments.of_tenant(session, order.tenant)
        for environment in known:
            await self._end_lane(order.tenant, environment.name)
        async with self._database.transaction(order.tenant) as session:
            await tenants.erase(session, order.tenant)

    async def _end_lane(self, tenant: str, environment: str) -> None:
        handle = self._client.get_workflow_handle(lane_id(tenant, environment))
        try:
            await handle.terminate("the tenant was taken away")
        except RPCError as error:
            if error.status is not RPCStatusCode.NOT_FOUND:
                raise
