"""Making a tenant and taking one away, each to its end whatever crashes meanwhile."""

from temporalio import workflow
from temporalio.exceptions import ActivityError

from domain.console import clip
from domain.tenancy import TenantMove, TenantOrder, TenantPart, TenantState, TenantStep
from workflows.inbox import Inbox, Receives
from workflows.options import RECORD, SUPERVISION

with workflow.unsafe.imports_passed_through():
    from activities.tenant_orders import Tenancy


@workflow.defn
class TenantWorkflow(Receives):
    """Environments with their policies, the first admin, then the tenant is active; or all is taken back."""

    @workflow.init
    def __init__(self, order: TenantOrder) -> None:
        self.inbox = Inbox()

    @workflow.run
    async def run(self, order: TenantOrder) -> TenantState:
        """Make every part; the state that the tenant ends in."""
        made: list[TenantStep] = []
        try:
            for step in TenantStep:
                made.append(step)  # before it is made: one that was begun is taken back too
                await workflow.execute_activity_method(
                    Tenancy.make_tenant_part, TenantPart(order=order, step=step), **RECORD
                )
            await _move(order, TenantState.ACTIVE)
        except ActivityError as error:
            workflow.logger.warning("%s is taken back: %s", order.tenant, error.cause)
            for step in reversed(made):
                await workflow.execute_activity_method(
                    Tenancy.undo_tenant_part, TenantPart(order=order, step=step), **RECORD
                )
            reason = clip(f"it could not be made: {error.cause}", 1000)
            await _move(order, TenantState.DELETED, reason=reason)
            return TenantState.DELETED
        return TenantState.ACTIVE


@workflow.defn
class TenantRemovalWorkflow(Receives):
    """What waits is withdrawn, what runs comes to its end, then the tenant's rows go."""

    @workflow.init
    def __init__(self, order: TenantOrder) -> None:
        self.inbox = Inbox()

    @workflow.run
    async def run(self, order: TenantOrder) -> TenantState:
        """Take the tenant away; its audit trail stays."""
        await workflow.execute_activity_method(Tenancy.quiet_tenant, order, **SUPERVISION)
        await workflow.execute_activity_method(Tenancy.erase_tenant, order, **RECORD)
        await _move(order, TenantState.DELETED)
        return TenantState.DELETED


async def _move(order: TenantOrder, to: TenantState, *, reason: str = "") -> None:
    move = TenantMove(tenant=order.tenant, actor=order.actor, to=to, reason=reason)
    await workflow.execute_activity_method(Tenancy.move_tenant, move, **RECORD)
