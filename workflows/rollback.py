"""Back to the releases that were recorded before the deployment, verified node by node."""

import asyncio
from datetime import timedelta
from typing import Any

from temporalio import workflow

from domain.command import CommandName
from domain.console import clip, count, escape
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
from workflows.authority import Authority, Ordered, Refused
from workflows.chronicle import Chronicle
from workflows.fleet import drive, named
from workflows.hooks import tell_of_rollback
from workflows.inbox import Inbox, Receives
from workflows.options import RECORD, node_operation

with workflow.unsafe.imports_passed_through():
    from activities.orders import Nodes, Records

CHOICES = "a person: retry, skip_node or abandon"


@workflow.defn
class RollbackWorkflow(Receives):
    """Parallel, touched nodes only, no bake, bounded rounds; then a person. Names what is not back."""

    @workflow.init
    def __init__(self, request: RollbackInput) -> None:
        self.inbox = Inbox()
        self._request = request
        self._chronicle = Chronicle(
            tenant=request.tenant,
            deployment=request.deployment,
            series=f"rollback-{workflow.info().run_id[:8]}",
        )
        self._authority = Authority(request.deployment)
        self._rounds = 0

    @workflow.run
    async def run(self, request: RollbackInput) -> RollbackResult:
        """Revert and verify in rounds. Recording the phase first stops operations that are still to start."""
        await self._show(Phase.ROLLING_BACK, request.cause.message)
        targets: RollbackTargets = await workflow.execute_activity_method(
            Records.rollback_targets, request, summary="which nodes were touched", **RECORD
        )
        telling = asyncio.ensure_future(self._tell(targets, None))  # beside: no node waits for it
        given_up: tuple[NodeName, ...] = ()
        left = await self._try(targets, targets.nodes)
        while left:
            order = await self._ask(targets, left)
            if order is None or order.command is CommandName.ABANDON:
                break
            if order.command is CommandName.SKIP_NODE:
                given_up = (*given_up, order.body.node)
                left = tuple(name for name in left if name != order.body.node)
            else:
                await self._show(Phase.ROLLING_BACK, order.words)
                left = await self._try(targets, left)
        result = await self._finish(targets, tuple(sorted((*given_up, *left))))
        await telling
        await self._tell(targets, _end(result))
        return result

    async def _tell(self, targets: RollbackTargets, outcome: Phase | None) -> None:
        """Call the hooks before the rollback (no outcome) or after it: what fails there changes nothing."""
        release = (targets.module, targets.version)
        await tell_of_rollback(targets.hooks, self._request, release, outcome=outcome)

    async def _try(self, targets: RollbackTargets, nodes: tuple[NodeName, ...]) -> tuple[NodeName, ...]:
        """As many rounds as the rule says; the nodes that are not proved to be back after them."""
        for number in range(1, targets.rule.rounds + 1):
            if number > 1:
                pause = timedelta(seconds=targets.rule.pause * (number - 1))
                await workflow.sleep(pause, summary=f"before round {self._rounds + 1}")
            nodes = await self._round(targets, nodes)
            if not nodes:
                break
        return nodes

    async def _round(self, targets: RollbackTargets, nodes: tuple[NodeName, ...]) -> tuple[NodeName, ...]:
        """Revert, then read back; the nodes that are not proved to be back. Only the read-back counts."""
        self._rounds += 1
        attempt = self._rounds

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

    async def _ask(self, targets: RollbackTargets, left: tuple[NodeName, ...]) -> Ordered | None:
        """Raise the alarm and wait for a person; None when nobody says anything in time."""
        if not targets.rule.ask_for:
            return None
        words = f"{count(len(left), 'node')} not proved to be back after {count(self._rounds, 'round')}"
        named_nodes = ", ".join(sorted(left)[:20])
        await self._show(Phase.ROLLING_BACK, f"{words}: {named_nodes}", waiting_for=CHOICES)
        await self._chronicle.note(EventKind.ROLLBACK_STUCK, f"{words}: {named_nodes}")
        until = workflow.time() + targets.rule.ask_for
        while True:
            try:
                await workflow.wait_condition(
                    lambda: self.inbox.pending,
                    timeout=timedelta(seconds=max(0.0, until - workflow.time())),
                    timeout_summary="nobody has decided",
                )
            except TimeoutError:
                return None
            order = await self._read(left)
            if order is not None:
                return order

    async def _read(self, left: tuple[NodeName, ...]) -> Ordered | None:
        """The next order, recorded; None when there is none that counts."""
        message = self.inbox.take()
        if message is None:
            return None
        order = await self._authority.check(message)
        if isinstance(order, Refused):
            await self._chronicle.note(EventKind.SIGNAL_REFUSED, order.words)
            return None
        if order.command is CommandName.SKIP_NODE and order.body.node not in left:
            refused = Refused(what=order.words, why="that node is none of those that are not back")
            await self._chronicle.note(EventKind.SIGNAL_REFUSED, refused.words)
            return None
        await self._chronicle.note(EventKind.COMMAND, order.words, actor=order.actor)
        return order

    async def _finish(self, targets: RollbackTargets, unverified: tuple[NodeName, ...]) -> RollbackResult:
        if unverified:
            reason = f"rollback of {self._request.of} not verified on {', '.join(unverified[:20])}"
            await self._show(Phase.ROLLED_BACK_UNVERIFIED, reason, unverified)
        else:
            words = f"{count(len(targets.nodes), 'node')} read back on the prior release"
            await self._show(Phase.ROLLED_BACK_VERIFIED, words)
        return RollbackResult(unverified=unverified, touched=len(targets.nodes))

    async def _show(
        self,
        phase: Phase,
        message: str,
        unverified: tuple[NodeName, ...] = (),
        *,
        waiting_for: str = "",
    ) -> None:
        """Record the phase. Recording an unverified end freezes the lane in the same transaction."""
        event = EventKind.FINISHED if phase.terminal else EventKind.PHASE
        show_position(phase=phase, wave=None, waiting_for=waiting_for)
        lines = [f"**{phase}** {escape(self._request.subject)}", escape(message)]
        if waiting_for:
            lines.append(f"waiting for **{escape(waiting_for)}**")
        workflow.set_current_details("\n\n".join(lines))
        await self._chronicle.note(
            event,
            message,
            phase=phase,
            cause=self._request.cause,
            unverified=unverified,
            waiting_for=waiting_for,
        )

    @workflow.signal(
        description='Try all nodes that are not back once more: {"actor": "you", "reason": "why"}'
    )
    def retry(self, body: Any = None, *extra: Any) -> None:
        """Another set of rounds."""
        self.inbox.put(CommandName.RETRY, body, extra)

    @workflow.signal(description='Give one node up: {"actor": "you", "node": "web-07", "reason": "why"}')
    def skip_node(self, body: Any = None, *extra: Any) -> None:
        """Go on without proof for one node; it ends as not verified."""
        self.inbox.put(CommandName.SKIP_NODE, body, extra)

    @workflow.signal(description='Give up: what is not back ends as not verified: {"actor": "you"}')
    def abandon(self, body: Any = None, *extra: Any) -> None:
        """End now, naming what is not back."""
        self.inbox.put(CommandName.ABANDON, body, extra)


def _end(result: RollbackResult) -> Phase:
    return Phase.ROLLED_BACK_UNVERIFIED if result.unverified else Phase.ROLLED_BACK_VERIFIED
