"""One attempt to bring one release to one environment: the rollout's story, top to bottom.

The plan is made once and carried as data; this workflow interprets its steps. Whatever stops it (a bad
verdict, failed nodes, a deadline, a person, a cancellation) becomes a Cause, and a cause leads to the one
rollback that there is. If even this workflow dies, its lane sees that and starts the rollback itself.
"""

import asyncio
from collections.abc import Awaitable
from datetime import timedelta
from typing import Any

from temporalio import workflow
from temporalio.common import TypedSearchAttributes
from temporalio.exceptions import ActivityError, ChildWorkflowError
from temporalio.workflow import ParentClosePolicy

from domain.analysis import Outcome, Verdict
from domain.console import clip, count
from domain.deployment import UNTOUCHED_END, Cause, CauseKind, NodeFailure, Phase
from domain.errors import IllegalTransition
from domain.gate import Decision, GateResult
from domain.messages import (
    AnalysisInput,
    AnalysisResult,
    ApprovalInput,
    ApprovalResult,
    DeploymentInput,
    DeploymentResult,
    NodesOutcome,
    Prepared,
    RollbackInput,
    RollbackResult,
    StatusView,
)
from domain.names import analysis_id, approval_id, rollback_id
from domain.plan import Activate, Analyze, Bake, Gate, Plan, Stage, Step, Verify
from workflows.analysis import CanaryAnalysisWorkflow
from workflows.approval import ApprovalWorkflow
from workflows.attributes import at_start
from workflows.board import Board
from workflows.causes import cause_of, code_of
from workflows.chronicle import Chronicle
from workflows.controls import Commanded, Controls, Halted
from workflows.deadline import Deadline
from workflows.fleet import Work, drive, wave_operation
from workflows.inbox import Inbox
from workflows.options import PLANNING
from workflows.rollback import RollbackWorkflow
from workflows.tasks import to_the_end

with workflow.unsafe.imports_passed_through():
    from activities.orders import Nodes, Planning

BASELINE_NODES = 200  # more concurrent baseline nodes than this make no verdict better


@workflow.defn
class DeploymentWorkflow(Commanded):
    """Interprets a plan; turns back when it must."""

    @workflow.init
    def __init__(self, request: DeploymentInput) -> None:
        self.inbox = Inbox()
        self._request = request
        chronicle = Chronicle(tenant=request.tenant, deployment=request.deployment, series="deployment")
        self._board = Board(chronicle)
        self._deadline = Deadline()
        self._controls = Controls(request.deployment, self.inbox, self._board, self._deadline)
        self._fence = 0
        self._touched = False
        self._failed: dict[str, NodeFailure] = {}

    @workflow.run
    async def run(self, request: DeploymentInput) -> DeploymentResult:
        """Plan, then step by step; completed, or turned back for a cause."""
        try:
            await self._board.enter(Phase.PLANNING, "reading what the nodes run")
        except ActivityError as error:
            if code_of(error) != IllegalTransition.code:
                raise
            words = "withdrawn before its turn came"
            return DeploymentResult(phase=Phase.ABORTED, cause=Cause(kind=CauseKind.ABORTED, message=words))
        try:
            plan = await self._make_plan()
            for index, step in enumerate(plan.steps):
                self._board.step = index
                await self._safe_point()
                await self._perform(plan, step)
            self._board.step = len(plan.steps)
            await self._controls.read()
        except Halted as halted:
            return await self._turn_back(halted.cause)
        except (asyncio.CancelledError, ActivityError, ChildWorkflowError) as error:
            return await self._turn_back(cause_of(error))
        await self._board.enter(Phase.COMPLETED, f"{plan.release} runs on {count(len(plan.nodes), 'node')}")
        return DeploymentResult(phase=Phase.COMPLETED)

    async def _make_plan(self) -> Plan:
        """Read what the nodes run, compile the strategy, store the plan. Nothing has moved yet."""
        prepared: Prepared = await self._attend(
            workflow.execute_activity_method(
                Planning.prepare, self._request, summary="read the nodes, make the plan", **PLANNING
            )
        )
        self._fence = prepared.fence
        self._controls.unsigned_allowed = prepared.plan.unsigned_votes
        self._board.show_plan(prepared.plan)
        self._deadline.start(prepared.plan.deadlines.deployment)
        return prepared.plan

    async def _perform(self, plan: Plan, step: Step) -> None:
        match step:
            case Gate():
                await self._pass_gate(plan, step)
            case Stage():
                await self._on_wave(plan, step.wave, Phase.STAGING, Nodes.stage)
            case Activate():
                self._touched = True
                await self._on_wave(plan, step.wave, Phase.ACTIVATING, Nodes.activate)
            case Verify():
                await self._on_wave(plan, step.wave, Phase.VERIFYING, Nodes.verify)
            case Bake():
                await self._bake(plan, step)
            case Analyze():
                await self._analyze(plan, step)

    async def _on_wave(self, plan: Plan, wave: int, phase: Phase, operation: Any) -> None:
        """One operation on the wave's nodes that have not failed yet, within the failure budget."""
        nodes = tuple(name for name in plan.wave(wave).nodes if name not in self._failed)
        await self._board.enter(
            phase, f"{phase} wave {wave} of {len(plan.waves)}: {count(len(nodes), 'node')}", wave=wave
        )
        before = len(self._failed)

        def too_many(failed: int, executed: int) -> bool:
            return plan.failures.exceeded(failed=before + failed, executed=before + executed)

        work: Work = wave_operation(
            operation,
            plan=plan,
            wave=wave,
            deployment=self._request.deployment,
            fence=self._fence,
        )
        outcome: NodesOutcome = await self._attend(
            drive(nodes, work, may_start=lambda: not self._controls.paused, give_up=too_many)
        )
        if not outcome.failures:
            return
        self._failed.update({failure.node: failure for failure in outcome.failures})
        words = "; ".join(f"{failure.node}: {failure.message}" for failure in outcome.failures[:20])
        await self._board.nodes_failed(f"{phase} failed on {words}", wave)
        if too_many(len(outcome.failures), outcome.done + len(outcome.failures)):
            raise Halted(Cause(kind=CauseKind.NODE_FAILURES, message=f"{phase} failed on {words}"))

    async def _bake(self, plan: Plan, step: Bake) -> None:
        """Let it run, then read back again: a module that died meanwhile fails the wave."""
        await self._board.enter(Phase.BAKING, f"wave {step.wave} bakes {step.seconds:.0f} s", wave=step.wave)
        pause = workflow.sleep(timedelta(seconds=step.seconds), summary=f"bake wave {step.wave}")
        await self._attend(pause, skippable=True)
        await self._on_wave(plan, step.wave, Phase.VERIFYING, Nodes.verify)

    async def _analyze(self, plan: Plan, step: Analyze) -> None:
        """All nodes changed so far against those not changed yet."""
        await self._board.enter(Phase.ANALYZING, f"judging wave {step.wave}", wave=step.wave)
        request = AnalysisInput(
            tenant=plan.tenant,
            environment=plan.environment,
            deployment=self._request.deployment,
            analysis=analysis_id(self._request.deployment, step.wave),
            wave=step.wave,
            module=plan.release.module,
            canary=tuple(name for name in plan.changed_by(step.wave) if name not in self._failed),
            baseline=plan.remaining_after(step.wave)[:BASELINE_NODES],
            canary_version=plan.release.version,
            rule=step.rule,
            subject=f"{plan.release}, wave {step.wave} of {len(plan.waves)}",
        )
        child = await workflow.start_child_workflow(
            CanaryAnalysisWorkflow.run,
            request,
            id=request.analysis,
            static_summary=clip(f"judge {request.subject}"),
            search_attributes=self._attributes,
        )
        analysis: AnalysisResult | None = await self._attend(child, skippable=True)
        if analysis is not None:
            await self._heed(analysis.verdict, step)

    async def _heed(self, verdict: Verdict, step: Analyze) -> None:
        """Only pass promotes. In doubt a person decides, or the rollout turns back, as the rule says."""
        await self._board.take_verdict(verdict, step.wave)
        if verdict.outcome is Outcome.FAIL:
            raise Halted(Cause(kind=CauseKind.ANALYSIS, message=verdict.reason))
        if verdict.outcome is Outcome.PASS:
            return
        if step.rule.on_inconclusive == "rollback":
            raise Halted(Cause(kind=CauseKind.INCONCLUSIVE, message=verdict.reason))
        await self._board.enter(
            Phase.HOLDING,
            f"inconclusive: {verdict.reason}",
            wave=step.wave,
            waiting_for="a person: promote or abort",
        )
        with self._deadline.held():
            await self._attend(workflow.wait_condition(lambda: False), skippable=True)

    async def _pass_gate(self, plan: Plan, step: Gate) -> None:
        """Wait for people. Their votes bind to this plan's digest."""
        rule = step.rule
        await self._board.enter(
            Phase.WAITING_APPROVAL,
            f"gate {rule.name} before wave {step.wave}",
            wave=step.wave,
            waiting_for=f"{rule.required} × {rule.role}",
        )
        request = ApprovalInput(
            tenant=plan.tenant,
            environment=plan.environment,
            deployment=self._request.deployment,
            gate=approval_id(self._request.deployment, rule.name),
            rule=rule,
            plan=plan.digest,
            requester=self._request.requester,
            unsigned_votes=plan.unsigned_votes,
            subject=f"{plan.release} to {plan.environment}, wave {step.wave} of {len(plan.waves)}",
        )
        gate = await workflow.start_child_workflow(
            ApprovalWorkflow.run,
            request,
            id=request.gate,
            static_summary=clip(f"gate {rule.name}: {request.subject}"),
            search_attributes=self._attributes,
        )
        with self._deadline.held(), self._controls.passing_votes_to(gate):
            approval: ApprovalResult = await self._attend(gate)
        if approval.result is not GateResult.APPROVED:
            kind = CauseKind.REJECTED if approval.result is GateResult.REJECTED else CauseKind.EXPIRED
            voters = ", ".join(vote.voter for vote in approval.poll.votes if vote.decision is Decision.REJECT)
            words = f"gate {rule.name} {approval.result}{' by ' + voters if voters else ''}"
            raise Halted(Cause(kind=kind, message=words, actor=voters or None))

    async def _safe_point(self) -> None:
        """Between two steps: what was ordered is heeded; a pause holds here."""
        await self._controls.read()
        if self._controls.paused_by is not None:
            await self._board.enter(
                Phase.PAUSED, self._controls.paused_by, waiting_for="a person: resume or abort"
            )
            with self._deadline.held():
                await self._attend(workflow.wait_condition(lambda: not self._controls.paused))

    async def _attend(self, work: Awaitable[Any], *, skippable: bool = False) -> Any:
        return await self._controls.attend(work, skippable=skippable)

    async def _turn_back(self, cause: Cause) -> DeploymentResult:
        """Nothing touched: say so and end. Otherwise the rollback, which nothing above can take down."""
        self._deadline.stop()
        self._board.cause = cause
        if not self._touched:
            phase = UNTOUCHED_END.get(cause.kind, Phase.FAILED)
            await to_the_end(self._board.enter(phase, cause.message))
            return DeploymentResult(phase=phase, cause=cause)
        self._board.show(Phase.ROLLING_BACK, cause.message)
        request = RollbackInput(
            tenant=self._request.tenant,
            environment=self._request.environment,
            deployment=self._request.deployment,
            of=self._request.deployment,
            cause=cause,
            subject=f"{self._request.module}@{self._request.version}: {cause.kind}",
        )
        rollback: RollbackResult = await to_the_end(
            workflow.execute_child_workflow(
                RollbackWorkflow.run,
                request,
                id=rollback_id(self._request.deployment),
                parent_close_policy=ParentClosePolicy.ABANDON,
                static_summary=clip(f"roll back {request.subject}"),
                search_attributes=self._attributes,
            )
        )
        phase = Phase.ROLLED_BACK_UNVERIFIED if rollback.unverified else Phase.ROLLED_BACK_VERIFIED
        self._board.show(phase, cause.message)
        return DeploymentResult(phase=phase, cause=cause, unverified=rollback.unverified)

    @property
    def _attributes(self) -> TypedSearchAttributes:
        request = self._request
        return at_start(
            tenant=request.tenant,
            environment=request.environment,
            module=request.module,
            version=request.version,
        )

    @workflow.query(description="Where the deployment stands and why.")
    def status(self) -> StatusView:
        """Phase, step, what it waits for, verdict, cause."""
        return self._board.view()
