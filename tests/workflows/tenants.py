"""Hands for the workflows of tenants that keep what they were told, and the scenes that are recorded."""

import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from temporalio import activity
from temporalio.client import Client
from temporalio.exceptions import ApplicationError
from temporalio.worker import Worker
from typing_extensions import override

from activities.registry import tenant_activities
from activities.tenant_orders import Tenancy
from domain.names import CONTROL_QUEUE, tenant_removal_id, tenant_workflow_id
from domain.tenancy import TenantMove, TenantOrder, TenantPart, TenantState
from runtime.temporal import workflow_runner
from workflows import ALL_WORKFLOWS
from workflows.tenant import TenantRemovalWorkflow, TenantWorkflow


@dataclass
class Hands(Tenancy):
    """What was done, in words; `refuses` names what fails for good."""

    refuses: str = ""
    done: list[str] = field(default_factory=list)

    def _do(self, words: str) -> None:
        self.done.append(words)
        if words == self.refuses:
            raise ApplicationError(f"{words} is refused", type="conflict", non_retryable=True)

    @activity.defn
    @override
    async def make_tenant_part(self, part: TenantPart) -> None:
        self._do(f"make {part.step}")

    @activity.defn
    @override
    async def undo_tenant_part(self, part: TenantPart) -> None:
        self._do(f"undo {part.step}")

    @activity.defn
    @override
    async def move_tenant(self, move: TenantMove) -> None:
        self._do(f"{move.to}")

    @activity.defn
    @override
    async def quiet_tenant(self, order: TenantOrder) -> None:
        self._do("quiet")

    @activity.defn
    @override
    async def erase_tenant(self, order: TenantOrder) -> None:
        self._do("erase")


@asynccontextmanager
async def at_work(client: Client, hands: Hands) -> AsyncIterator[None]:
    """A worker with these hands."""
    async with Worker(
        client,
        task_queue=CONTROL_QUEUE,
        workflows=ALL_WORKFLOWS,
        activities=tenant_activities(hands),
        workflow_runner=workflow_runner(),
        identity="recorder",
    ):
        yield


async def make(client: Client, tenant: str) -> TenantState:
    """Run the making of a tenant."""
    order = TenantOrder(tenant=tenant, actor="root", admin="admin")
    return await client.execute_workflow(
        TenantWorkflow.run, order, id=tenant_workflow_id(tenant), task_queue=CONTROL_QUEUE
    )


async def remove(client: Client, tenant: str) -> TenantState:
    """Run the taking away of a tenant."""
    order = TenantOrder(tenant=tenant, actor="root")
    return await client.execute_workflow(
        TenantRemovalWorkflow.run, order, id=tenant_removal_id(tenant), task_queue=CONTROL_QUEUE
    )


def fresh() -> str:
    return f"t-{uuid.uuid4().hex[:8]}"


async def record_tenants(client: Client) -> None:
    """The histories that the replay test holds tenants' workflows against."""
    from tests.workflows.record_histories import save

    for case, refuses in (("made", ""), ("taken-back", "make admin")):
        async with at_work(client, Hands(refuses=refuses)):
            await make(client, f"recorded-{case}")
        await save(client, tenant_workflow_id(f"recorded-{case}"), case)
    async with at_work(client, Hands()):
        await remove(client, "recorded")
    await save(client, tenant_removal_id("recorded"), "removed")
