"""Back to the releases that were recorded before the deployment, verified node by node."""

from temporalio import workflow

from domain.console import clip, count
from domain.deployment import Phase
from domain.events import EventKind
from domain.messages import (
    NodesOutcome,
    RevertOrder,
    RollbackInput,
    RollbackResult,
    RollbackTargets,
)
from domain.names import NodeName
from workflows.attributes import show_position
from workflows.chronicle import Chronicle
from workflows.fleet import drive, named
from workflows.inbox import Inbox, Receives
from workflows.options import RECORD, ROLLBACK_PAUSE, ROLLBACK_ROUNDS, node_operation

with workflow.unsafe.imports_passed_through():
    from activities.orders import Nodes, Records


@workflow.defn
class RollbackWorkflow(Receives):
    """Parallel, touched nodes only, no bake, bounded rounds; names the nodes that are not back."""

    @workflow.init
    def __init__(self, request: RollbackInput) -> None:
        self.inbox = Inbox()
        self._request = request
        self._chronicle = Chronicle(
            tenant=request.tenant,
            deployment=request.deployment,
            series=f"rollback-{workflow.info().run_id[:8]}",
        )

    @workflow.run
    async def run(self, request: RollbackInput) -> RollbackResult:
        """Revert and verify in rounds. Recording the phase first stops operations that are still to start."""
        await self._show(Phase.ROLLING_BACK, request.cause.message)
        targets: RollbackTargets = await workflow.execute_activity_method(
            Records.rollback_targets, request, summary="which nodes were touched", **RECORD
        )
        unverified = targets.nodes
        for attempt in range(1, ROLLBACK_ROUNDS + 1):
            unverified = await self._round(targets, unverified, attempt)
            if not unverified:
                break
            if attempt < ROLLBACK_ROUNDS:
                await workflow.sleep(ROLLBACK_PAUSE * attempt, summary=f"before round {attempt + 1}")
        return await self._finish(targets, unverified)

    async def _round(
        self, targets: RollbackTargets, nodes: tuple[NodeName, ...], attempt: int
    ) -> tuple[NodeName, ...]:
        """Revert, then read back; the nodes that are not proved to be back. Only the read-back counts."""

        def order(batch: tuple[NodeName, ...]) -> RevertOrder:
            return RevertOrder(
                tenant=self._request.tenant,
                environment=self._request.environment,
                deployment=self._request.deployment,
                of=self._request.of,
                module=targets.module,
                nodes=batch,
                fence=targets.fence,
                deadline=targets.deadline,
                attempt=attempt,
            )

        async def revert(batch: tuple[NodeName, ...]) -> NodesOutcome:
            return await workflow.execute_activity_method(
                Nodes.revert, order(batch), summary=clip(named(batch)), **options
            )

        async def verify(batch: tuple[NodeName, ...]) -> NodesOutcome:
            return await workflow.execute_activity_method(
                Nodes.verify_reverted, order(batch), summary=clip(named(batch)), **options
            )

        options = node_operation(targets.deadline * (1 + len(nodes)))
        await drive(nodes, revert)
        outcome = await drive(nodes, verify)
        if outcome.failures:
            words = "; ".join(f"{failure.node}: {failure.message}" for failure in outcome.failures)
            await self._chronicle.note(
                EventKind.NODES_FAILED, f"round {attempt}, not proved to be back: {words}"
            )
        return tuple(failure.node for failure in outcome.failures)

    async def _finish(self, targets: RollbackTargets, unverified: tuple[NodeName, ...]) -> RollbackResult:
        if unverified:
            reason = f"rollback of {self._request.of} not verified on {', '.join(unverified[:20])}"
            await self._show(Phase.ROLLED_BACK_UNVERIFIED, reason, unverified)
        else:
            words = f"{count(len(targets.nodes), 'node')} read back on the prior release"
            await self._show(Phase.ROLLED_BACK_VERIFIED, words)
        return RollbackResult(unverified=unverified, touched=len(targets.nodes))

    async def _show(self, phase: Phase, message: str, unverified: tuple[NodeName, ...] = ()) -> None:
        """Record the phase. Recording an unverified end freezes the lane in the same transaction."""
        event = EventKind.FINISHED if phase.terminal else EventKind.PHASE
        show_position(phase=phase, wave=None, waiting_for="")
        workflow.set_current_details(f"**{phase}** {self._request.subject}")
        await self._chronicle.note(
            event, message, phase=phase, cause=self._request.cause, unverified=unverified
        )
