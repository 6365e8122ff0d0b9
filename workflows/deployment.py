"""One attempt to bring one release to one environment: the rollout's story, top to bottom.

The plan is made once and carried as data; this workflow interprets its steps. Whatever stops it (a bad
verdict, failed nodes, a deadline, a person, a cancellation) becomes a Cause, and a cause leads to the one
rollback that there is. If even this workflow dies, its lane sees that and starts the rollback itself.
"""

import asyncio
from typing import Final

from temporalio import workflow
from temporalio.exceptions import ActivityError, ChildWorkflowError
from temporalio.workflow import ParentClosePolicy

from domain.console import clip, count
from domain.deployment import UNTOUCHED_END, Cause, CauseKind, Phase
from domain.errors import IllegalTransition
from domain.messages import (
    DeploymentInput,
    DeploymentResult,
    Prepared,
    RollbackInput,
    RollbackResult,
    StatusView,
)
from domain.names import rollback_id
from domain.plan import Analyze, Bake, Gate, Plan, Step, Watch
from domain.steps import TOUCHING, Keep, Pause, Renew
from workflows.background import Background
from workflows.causes import cause_of, code_of
from workflows.controls import Commanded, Halted, Superseded
from workflows.gates import pass_gate
from workflows.guarding import open_guard
from workflows.hooks import heed_hooks, tell_the_end
from workflows.inbox import Inbox
from workflows.judging import analyze
from workflows.options import PLANNING
from workflows.pausing import WHO_RESUMES
from workflows.renewal import renew
from workflows.rollback import RollbackWorkflow
from workflows.rollout import Rollout
from workflows.tasks import to_the_end
from workflows.waves import bake, keep, perform, rest

with workflow.unsafe.imports_passed_through():
    from activities.orders import Planning

# Before, a pause that came in during the last step held nothing, not even where the background analysis
# was in doubt.
PAUSED_AT_THE_END: Final = "a-pause-in-the-last-step-holds"


@workflow.defn
class DeploymentWorkflow(Commanded):
    """Interprets a plan; turns back when it must."""

    @workflow.init
    def __init__(self, request: DeploymentInput) -> None:
        self.inbox = Inbox()
        self._request = request
        self._rollout = Rollout(request, self.inbox)
        self._background = Background(self._rollout)
        self._touched = request.continues is not None

    @workflow.run
    async def run(self, request: DeploymentInput) -> DeploymentResult:
        """Plan, then step by step; completed, or turned back for a cause. Hooks are told how it ended."""
        result = await self._attempt()
        await tell_the_end(self._rollout, result)
        return result

    async def _attempt(self) -> DeploymentResult:
        board, amending = self._rollout.board, self._rollout.amending
        try:
            await board.enter(Phase.PLANNING, "reading what the nodes run")
        except ActivityError as error:
            if code_of(error) != IllegalTransition.code:
                raise
            words = "withdrawn before its turn came"
            return DeploymentResult(phase=Phase.ABORTED, cause=Cause(kind=CauseKind.ABORTED, message=words))
        try:
            plan = await self._make_plan()
            while board.step < len(plan.steps):
                await self._safe_point()
                await amending.go_on(board.step)
                plan = amending.plan
                await self._step(plan, board.step)
                board.step += 1
            await self._rollout.controls.read()
            if self._rollout.controls.paused and workflow.patched(PAUSED_AT_THE_END):
                await self._safe_point()
            await self._background.conclude()
            await amending.close("the rollout was through first")
        except Halted as halted:
            stays = isinstance(halted, Superseded) and halted.stays
            return await self._turn_back(halted.cause, stays=stays)
        except (asyncio.CancelledError, ActivityError, ChildWorkflowError) as error:
            return await self._turn_back(cause_of(error))
        await board.enter(Phase.COMPLETED, self._completed(plan))
        await open_guard(self._rollout, plan)
        return DeploymentResult(phase=Phase.COMPLETED, quarantined=self._rollout.losses.quarantined)

    async def _make_plan(self) -> Plan:
        """Read what the nodes run, compile the strategy, store the plan. Nothing has moved yet."""
        prepared: Prepared = await self._rollout.attend(
            workflow.execute_activity_method(
                Planning.prepare, self._request, summary="read the nodes, make the plan", **PLANNING
            )
        )
        self._rollout.fence = prepared.fence
        self._rollout.losses.ailing = prepared.ailing
        self._rollout.controls.authority.unsigned_allowed = prepared.plan.unsigned_votes
        self._rollout.board.show_plan(prepared.plan)
        self._rollout.amending.begin(prepared.plan)
        self._rollout.deadline.start(prepared.plan.deadlines.deployment)
        return prepared.plan

    def _completed(self, plan: Plan) -> str:
        """In words: how many nodes run the release, and which do not and why."""
        lost = self._rollout.losses.lost
        words = f"{plan.release} runs on {count(len(plan.nodes) - len(lost), 'node')}"
        for what, names in (("lost", tuple(lost)), ("deferred", plan.deferred)):
            if names:
                words += f"; {what}: {', '.join(names[:20])}"
        return words

    async def _step(self, plan: Plan, index: int) -> None:
        await heed_hooks(self._rollout, plan, plan.begins_with(index))
        await self._perform(plan, plan.steps[index])
        await heed_hooks(self._rollout, plan, plan.ends_with(index))

    async def _perform(self, plan: Plan, step: Step) -> None:
        match step:
            case Watch():
                await self._background.start(plan, step)
            case Gate():
                await pass_gate(self._rollout, step)
            case Bake():
                await bake(self._rollout, plan, step)
            case Analyze():
                await analyze(self._rollout, plan, step)
            case Keep():
                await keep(self._rollout, plan, step)
            case Pause():
                await rest(self._rollout, step)
            case Renew():
                await renew(self._rollout, plan, step)
            case _:
                self._touches(step)
                await perform(self._rollout, plan, step)

    def _touches(self, step: Step) -> None:
        if step.kind in TOUCHING:
            self._touched = True
            self._rollout.began = self._rollout.began or workflow.time()

    async def _safe_point(self) -> None:
        """Between two steps: what was ordered is heeded; a pause holds here."""
        controls = self._rollout.controls
        await controls.read()
        if controls.paused_by is not None:
            await self._rollout.board.enter(Phase.PAUSED, controls.paused_by, waiting_for=WHO_RESUMES)
            with self._rollout.deadline.held():
                await controls.attend(workflow.wait_condition(lambda: not controls.paused))

    async def _turn_back(self, cause: Cause, *, stays: bool = False) -> DeploymentResult:
        """Nothing touched: say so and end. Otherwise the rollback, which nothing above can take down.

        What `stays` is the successor's from here on.
        """
        board = self._rollout.board
        await to_the_end(self._background.stop())
        await to_the_end(self._rollout.amending.close("the rollout turned back first"))
        self._rollout.deadline.stop()
        board.cause = cause
        if stays or not self._touched:
            phase = UNTOUCHED_END.get(cause.kind, Phase.FAILED)
            await to_the_end(board.enter(phase, cause.message))
            return DeploymentResult(phase=phase, cause=cause)
        board.show(Phase.ROLLING_BACK, cause.message)
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
                search_attributes=self._rollout.attributes,
            )
        )
        phase = Phase.ROLLED_BACK_UNVERIFIED if rollback.unverified else Phase.ROLLED_BACK_VERIFIED
        board.show(phase, cause.message)
        return DeploymentResult(phase=phase, cause=cause, unverified=rollback.unverified)

    @workflow.query(description="Where the deployment stands and why.")
    def status(self) -> StatusView:
        """Phase, step, what it waits for, verdict, cause."""
        return self._rollout.board.view()
