"""The gate before an entry runs in a lane that an unverified rollback has frozen."""

import asyncio
from collections.abc import Callable

from temporalio import workflow
from temporalio.common import TypedSearchAttributes
from temporalio.exceptions import ChildWorkflowError

from domain.approval import ApprovalInput, ApprovalResult, Subject
from domain.console import clip
from domain.deployment import Cause, CauseKind
from domain.gate import GateResult
from domain.gate_rule import GateRule, SubjectKind
from domain.lane import override_digest
from domain.messages import LaneInput, QueuedDeployment, Withdrawal
from domain.names import approval_id
from workflows.approval import ApprovalWorkflow
from workflows.options import RECORD
from workflows.tasks import settle

with workflow.unsafe.imports_passed_through():
    from activities.orders import Records


class OverrideGate:
    """Asks people, and ends the entry when they say no."""

    def __init__(self, lane: LaneInput, resolved: Callable[[], bool]) -> None:
        self._lane = lane
        self._resolved = resolved

    async def permits(
        self, entry: QueuedDeployment, rule: GateRule, frozen: str, attributes: TypedSearchAttributes
    ) -> bool:
        """Whether people permit the entry; False also when the freeze is resolved meanwhile: look again."""
        subject = self._subject(entry, frozen)
        request = ApprovalInput(
            tenant=self._lane.tenant,
            environment=self._lane.environment,
            deployment=entry.deployment,
            gate=approval_id(entry.deployment, rule.name),
            rule=rule,
            requester=entry.requester,
            subject=subject,
        )
        gate = asyncio.ensure_future(
            workflow.execute_child_workflow(
                ApprovalWorkflow.run,
                request,
                id=request.gate,
                static_summary=clip(f"gate {rule.name}: {subject.words}"),
                search_attributes=attributes,
            )
        )
        await workflow.wait_condition(lambda: gate.done() or self._resolved())
        if not gate.done():
            await settle(gate)
            return False
        try:
            approval: ApprovalResult = gate.result()
        except ChildWorkflowError as error:
            await self._withdraw(entry, Cause(kind=CauseKind.REJECTED, message=f"gate {rule.name}: {error}"))
            return False
        if approval.approves(subject.digest):
            return True
        kind = CauseKind.EXPIRED if approval.result is GateResult.EXPIRED else CauseKind.REJECTED
        await self._withdraw(entry, Cause(kind=kind, message=f"gate {rule.name} {approval.result}"))
        return False

    def _subject(self, entry: QueuedDeployment, frozen: str) -> Subject:
        what = f"rollback of {entry.rolls_back}" if entry.rolls_back else f"{entry.module}@{entry.version}"
        return Subject(
            kind=SubjectKind.FREEZE_OVERRIDE,
            reference=entry.deployment,
            digest=override_digest(entry, frozen),
            words=clip(f"{what} although {self._lane.environment} is frozen: {entry.override}", 1000),
        )

    async def _withdraw(self, entry: QueuedDeployment, cause: Cause) -> None:
        withdrawal = Withdrawal(tenant=self._lane.tenant, deployment=entry.deployment, cause=cause)
        await workflow.execute_activity_method(
            Records.withdraw, withdrawal, summary="the override was refused", **RECORD
        )
