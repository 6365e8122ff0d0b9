"""Amending a rollout under way: what narrows it holds from the next step on, what widens it asks people.

While people decide, the rollout goes on by the plan that it has. What they approve is exactly what is done
then: an amendment of steps that the rollout has come to meanwhile lapses.
"""

import asyncio
from dataclasses import dataclass
from typing import Any

from temporalio import workflow
from temporalio.exceptions import ChildWorkflowError, FailureError

from domain.amendment import Amendment, AmendmentState, amended, diverges
from domain.approval import ApprovalInput, ApprovalResult, Subject
from domain.console import clip
from domain.errors import HotswapError
from domain.events import EventKind
from domain.gate import GateResult
from domain.gate_rule import SubjectKind
from domain.messages import AmendmentEntry, DeploymentInput
from domain.names import amendment_gate_id
from domain.plan import Plan
from domain.widening import widens
from workflows.approval import AMENDED, ApprovalWorkflow
from workflows.attributes import of_deployment
from workflows.authority import Ordered, Refused
from workflows.board import Board
from workflows.deadline import Deadline
from workflows.options import RECORD
from workflows.tasks import settle

with workflow.unsafe.imports_passed_through():
    from activities.orders import Records

GateHandle = workflow.ChildWorkflowHandle[Any, Any]


@dataclass(frozen=True)
class Waiting:
    """An amendment that waits for people."""

    amendment: Amendment
    approval: GateHandle
    result: asyncio.Task[ApprovalResult]


class Amending:
    """The plan of one deployment, and what people change of it.

    `open_gate` is the gate that the rollout waits at; `authors` are those who have amended the plan.
    """

    def __init__(self, request: DeploymentInput, board: Board, deadline: Deadline) -> None:
        self._request = request
        self._board = board
        self._deadline = deadline
        self._plan: Plan | None = None
        self._number = 0
        self._waiting: Waiting | None = None
        self.authors: tuple[str, ...] = ()
        self.open_gate: GateHandle | None = None

    def begin(self, plan: Plan) -> None:
        """The first plan."""
        self._plan = plan

    @property
    def plan(self) -> Plan:
        """The plan in force from the next step on."""
        if self._plan is None:
            raise RuntimeError("the plan is asked for before it was made")
        return self._plan

    @property
    def approval(self) -> GateHandle | None:
        """The approval of an amendment that waits for people."""
        return self._waiting.approval if self._waiting else None

    @property
    def decided(self) -> bool:
        """Whether people have decided on the amendment that waited for them."""
        return self._waiting is not None and self._waiting.result.done()

    async def take(self, order: Ordered) -> None:
        """Amend the plan, or ask people to; an amendment that waits already gives way to this one."""
        changes = order.body.changes
        if self._plan is None or changes is None:
            why = "there is no plan yet" if changes else "it says no changes"
            await self._refuse(order, why)
            return
        try:
            plan = amended(self._plan, self._board.step, changes)
        except HotswapError as error:
            await self._refuse(order, error.message)
            return
        await self.close("another amendment came after it")
        self._number += 1
        reasons = widens(self._plan, plan)
        amendment = Amendment(
            number=self._number,
            changes=changes,
            actor=order.actor,
            reason=order.body.reason,
            plan=plan,
            widens=reasons,
            gate=amendment_gate_id(self._request.deployment, self._number) if reasons else None,
            state=AmendmentState.WAITING,
            message=f"waits for people, for it widens the plan: {'; '.join(reasons)}",
        )
        if reasons:
            await self._ask(amendment)
        else:
            await self._apply(amendment, "it narrows the plan")

    async def settle(self) -> None:
        """Heed what people have decided."""
        if self._waiting is None or not self._waiting.result.done():
            return
        amendment, task = self._waiting.amendment, self._waiting.result
        self._waiting = None
        try:
            approval = task.result()
        except ChildWorkflowError as error:
            await self._save(amendment, AmendmentState.LAPSED, f"its approval ended: {error}")
            return
        if approval.approves(amendment.plan.digest):
            voters = ", ".join(vote.voter for vote in approval.poll.votes)
            await self._apply(amendment, f"approved by {voters}")
        else:
            expired = approval.result is GateResult.EXPIRED
            state = AmendmentState.EXPIRED if expired else AmendmentState.REJECTED
            await self._save(amendment, state, f"{approval.result}: the plan stays as it is")

    async def go_on(self, step: int) -> None:
        """The step at this index is next: an amendment of it, or of what comes before it, is too late."""
        if self._waiting is not None and diverges(self.plan, self._waiting.amendment.plan) <= step:
            await self.close("the rollout has come to what it changes")

    async def close(self, why: str) -> None:
        """An amendment that waits for people is asked no more."""
        if self._waiting is None:
            return
        waiting, self._waiting = self._waiting, None
        await settle(waiting.result)
        await self._save(waiting.amendment, AmendmentState.LAPSED, why)

    async def _ask(self, amendment: Amendment) -> None:
        """People decide beside the rollout, which goes on."""
        request, plan = self._request, amendment.plan
        await self._save(amendment, amendment.state, amendment.message)
        approval = ApprovalInput(
            tenant=request.tenant,
            environment=request.environment,
            deployment=request.deployment,
            gate=amendment_gate_id(request.deployment, amendment.number),
            rule=plan.amendment,
            requester=request.requester,
            amended_by=(*self.authors, amendment.actor),
            unsigned_votes=plan.unsigned_votes,
            subject=Subject(
                kind=SubjectKind.AMENDMENT,
                reference=request.deployment,
                digest=plan.digest,
                words=clip(f"{plan.release} to {plan.environment}: {'; '.join(amendment.widens)}", 1000),
            ),
        )
        handle = await workflow.start_child_workflow(
            ApprovalWorkflow.run,
            approval,
            id=approval.gate,
            static_summary=clip(f"amendment {amendment.number}: {approval.subject.words}"),
            search_attributes=of_deployment(request),
        )
        self._waiting = Waiting(amendment, handle, asyncio.create_task(_result(handle)))

    async def _apply(self, amendment: Amendment, why: str) -> None:
        """From the next step on; the votes at an open gate were for another plan."""
        before, plan = self.plan, amendment.plan
        self._plan = plan
        self.authors = tuple(dict.fromkeys((*self.authors, amendment.actor)))
        longer = plan.deadlines.deployment - before.deadlines.deployment
        if longer:
            self._deadline.extend(longer)
        self._board.plan = plan
        await self._save(amendment, AmendmentState.APPLIED, why)
        if self.open_gate is not None:
            body = {"digest": plan.digest, "actor": amendment.actor, "reason": amendment.reason}
            try:
                await self.open_gate.signal(AMENDED, body)
            except FailureError as error:  # decided this instant: the rollout sees that it was another plan
                workflow.logger.info("the gate is closed: %s", error)

    async def _save(self, amendment: Amendment, state: AmendmentState, message: str) -> None:
        entry = AmendmentEntry(
            tenant=self._request.tenant,
            deployment=self._request.deployment,
            amendment=amendment.model_copy(update={"state": state, "message": clip(message, 2000)}),
        )
        words = f"amendment {amendment.number}: {state}"
        await workflow.execute_activity_method(Records.save_amendment, entry, summary=words, **RECORD)
        self._board.show_notice(f"{words}, {message}")

    async def _refuse(self, order: Ordered, why: str) -> None:
        refused = Refused(what=f"{order.command} by {order.actor}", why=why)
        await self._board.notice(EventKind.SIGNAL_REFUSED, refused.words, actor=order.actor)


async def _result(handle: GateHandle) -> ApprovalResult:
    result: ApprovalResult = await handle
    return result
