"""The queue in front of one tenant's environment: one deployment at a time, each supervised to its end.

The lane keeps nothing: what runs, what waits and why it is frozen is in the store, and a signal only says
"look again". So a lane that was terminated is started by the next request and goes on where it stood.
"""

from typing import Any

from temporalio import workflow
from temporalio.common import WorkflowIDReusePolicy
from temporalio.exceptions import ChildWorkflowError, WorkflowAlreadyStartedError
from temporalio.workflow import ChildWorkflowCancellationType, ParentClosePolicy

from domain.console import clip, escape
from domain.deployment import Cause, CauseKind
from domain.messages import DeploymentInput, LaneInput, LaneView, QueuedDeployment, RollbackInput
from domain.names import deployment_workflow_id, rollback_id
from workflows.attributes import at_start, show_position
from workflows.causes import cause_of
from workflows.deployment import DeploymentWorkflow
from workflows.inbox import Inbox, Receives
from workflows.options import DEPLOYMENT_LIFETIME, RECORD, SUPERVISION
from workflows.rollback import RollbackWorkflow

with workflow.unsafe.imports_passed_through():
    from activities.orders import Records, Supervision


@workflow.defn
class LaneWorkflow(Receives):
    """An entity that lives as long as its environment; continues as new when its history has grown."""

    @workflow.init
    def __init__(self, lane: LaneInput) -> None:
        self.inbox = Inbox()
        self._lane = lane
        self._refused: list[str] = []

    @workflow.run
    async def run(self, lane: LaneInput) -> None:
        """Look at the store; do what is next; wait for the next signal."""
        while not workflow.info().is_continue_as_new_suggested():
            self._read_inbox()
            view = await self._look()
            if view.running is not None:
                await self._take_over(view.running)
            elif view.queued and view.frozen is None:
                await self._start(view.queued[0])
            else:
                await workflow.wait_condition(lambda: self.inbox.pending)
        await workflow.wait_condition(workflow.all_handlers_finished)
        workflow.continue_as_new(lane)

    async def _start(self, queued: QueuedDeployment) -> None:
        """Run the oldest entry to its end, whatever that end is."""
        if queued.rolls_back is not None:
            words = f"rollback of {queued.rolls_back} asked by {queued.requester}"
            await self._roll_back(
                queued, Cause(kind=CauseKind.OPERATOR, message=words, actor=queued.requester)
            )
            return
        request = DeploymentInput(
            tenant=self._lane.tenant,
            environment=self._lane.environment,
            deployment=queued.deployment,
            requester=queued.requester,
            module=queued.module,
            version=queued.version,
        )
        versions = " → ".join(each for each in (queued.replaces, queued.version) if each)
        where = f"{self._lane.tenant}/{self._lane.environment}"
        try:
            await workflow.execute_child_workflow(
                DeploymentWorkflow.run,
                request,
                id=deployment_workflow_id(queued.deployment),
                execution_timeout=DEPLOYMENT_LIFETIME,
                parent_close_policy=ParentClosePolicy.ABANDON,
                cancellation_type=ChildWorkflowCancellationType.ABANDON,
                id_reuse_policy=WorkflowIDReusePolicy.REJECT_DUPLICATE,
                static_summary=clip(f"{queued.module} {versions} · {where} · {queued.strategy}"),
                static_details=f"requested by {escape(queued.requester)}",
                search_attributes=self._attributes(queued),
            )
        except WorkflowAlreadyStartedError:
            await self._take_over(queued)
        except ChildWorkflowError as error:
            await self._roll_back(queued, cause_of(error))

    async def _take_over(self, running: QueuedDeployment) -> None:
        """A deployment that an earlier run of this lane started: wait for its end; roll back if it died."""
        await self._await_end(deployment_workflow_id(running.deployment))
        view = await self._look()
        still_open = [each.deployment for each in (view.running, *view.queued) if each is not None]
        if running.deployment in still_open:
            words = "the deployment's workflow ended without an outcome"
            await self._roll_back(running, Cause(kind=CauseKind.TERMINATED, message=words))

    async def _roll_back(self, queued: QueuedDeployment, cause: Cause) -> None:
        """Start the rollback, or wait for the one that is under way already."""
        of = queued.rolls_back or queued.deployment
        workflow_id = rollback_id(queued.deployment)
        request = RollbackInput(
            tenant=self._lane.tenant,
            environment=self._lane.environment,
            deployment=queued.deployment,
            of=of,
            cause=cause,
            subject=f"{queued.module}@{queued.version}: {cause.kind}",
        )
        try:
            await workflow.execute_child_workflow(
                RollbackWorkflow.run,
                request,
                id=workflow_id,
                parent_close_policy=ParentClosePolicy.ABANDON,
                cancellation_type=ChildWorkflowCancellationType.ABANDON,
                id_reuse_policy=WorkflowIDReusePolicy.ALLOW_DUPLICATE_FAILED_ONLY,
                static_summary=clip(f"roll back {request.subject}"),
                search_attributes=self._attributes(queued),
            )
        except WorkflowAlreadyStartedError:
            await self._await_end(workflow_id)
        except ChildWorkflowError as error:
            workflow.logger.warning("%s died: %s; looking again", workflow_id, error)

    async def _look(self) -> LaneView:
        view: LaneView = await workflow.execute_activity_method(
            Records.load_lane, self._lane, summary="what runs, what waits", **RECORD
        )
        self._show(view)
        return view

    async def _await_end(self, workflow_id: str) -> None:
        await workflow.execute_activity_method(
            Supervision.await_end, workflow_id, summary=f"wait for {workflow_id}", **SUPERVISION
        )

    def _read_inbox(self) -> None:
        """Every signal only wakes the lane; a name that it does not have is shown."""
        while (message := self.inbox.take()) is not None:
            if not message.known:
                self._refused = [*self._refused, message.name][-20:]

    def _show(self, view: LaneView) -> None:
        running = view.running.deployment if view.running else "nothing"
        lines = [f"running: {running}; waiting: {len(view.queued)}"]
        if view.frozen:
            lines.append(f"\n**frozen**: {escape(view.frozen)}. Resolve with `hotswap resolve`.")
        lines += [
            f"\n- {escape(each.module)}@{escape(each.version)} ({each.deployment})"
            for each in view.queued[:20]
        ]
        lines += [f"\n- no such signal: {escape(name)}" for name in self._refused]
        workflow.set_current_details("\n".join(lines))
        phase = "frozen" if view.frozen else "running" if view.running or view.queued else "idle"
        show_position(phase=phase, wave=None, waiting_for="hotswap resolve" if view.frozen else "")

    def _attributes(self, queued: QueuedDeployment) -> Any:
        return at_start(
            tenant=self._lane.tenant,
            environment=self._lane.environment,
            module=queued.module,
            version=queued.version,
        )

    @workflow.signal(description='A deployment was queued: {"deployment": "…"}. Look again.')
    def submit(self, body: Any = None, *extra: Any) -> None:
        """Wake up: the store has something new."""
        self.inbox.put("submit", body, extra)

    @workflow.signal(description="The freeze was resolved through the API. Look again.")
    def resolve(self, body: Any = None, *extra: Any) -> None:
        """Wake up: an operator has resolved the freeze."""
        self.inbox.put("resolve", body, extra)
