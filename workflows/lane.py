"""The queue in front of one tenant's environment: one deployment at a time, each supervised to its end.

The lane keeps nothing: what runs, what waits and why it is frozen is in the store, and a signal only says
"look again". So a lane that was terminated is started by the next request and goes on where it stood.
"""

import asyncio
from collections.abc import Coroutine
from typing import Any

from temporalio import workflow
from temporalio.common import WorkflowIDReusePolicy
from temporalio.exceptions import ChildWorkflowError, FailureError, WorkflowAlreadyStartedError
from temporalio.workflow import ChildWorkflowCancellationType, ParentClosePolicy

from domain.console import clip, escape
from domain.deployment import Cause, CauseKind
from domain.freeze_orders import FreezeOrder
from domain.lane import startable, startable_beside, superseder
from domain.messages import DeploymentInput, LaneInput, LaneLook, LaneView, QueuedDeployment, RollbackInput
from domain.names import SUPERSEDE, deployment_workflow_id, rollback_id
from workflows.attributes import at_start, show_position
from workflows.causes import cause_of
from workflows.deployment import DeploymentWorkflow
from workflows.freezing import FreezeDesk
from workflows.inbox import Inbox, Receives
from workflows.options import DEPLOYMENT_LIFETIME, RECORD, SUPERVISION
from workflows.overriding import OverrideGate
from workflows.rollback import RollbackWorkflow
from workflows.tasks import settle, within

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
        self._freezes = FreezeDesk(lane, self._refuse)
        self._asked: tuple[str, ...] = ()
        self._resolved = False
        self._beside: asyncio.Task[None] | None = None
        self._override = OverrideGate(lane, lambda: self._resolved)

    @workflow.run
    async def run(self, lane: LaneInput) -> None:
        """Look at the store; do what is next; wait for the next signal."""
        while not workflow.info().is_continue_as_new_suggested():
            await self._heed()
            view = await self._look()
            entry = startable(view)
            if view.running is not None:
                await self._make_room(view)
                self._go_beside(view)
                await self._attend(self._take_over(view.running))
            elif entry is not None:
                await self._attend(self._begin(entry, view))
            else:
                await self._rest(view)
        await workflow.wait_condition(workflow.all_handlers_finished)
        workflow.continue_as_new(lane.model_copy(update={"used_tokens": self._freezes.used_tokens}))

    async def _rest(self, view: LaneView) -> None:
        """Nothing may start: wait for a signal, or for the end of the freeze that keeps entries waiting."""
        left = None
        if view.freeze is not None and view.freeze.until is not None and view.queued and not view.frozen:
            left = max(1.0, view.freeze.until - workflow.time())
        await within(left, lambda: self.inbox.pending, view.freeze.words if view.freeze else None)

    async def _attend(self, work: Coroutine[Any, Any, None]) -> None:
        """Do `work` to its end while heeding what people order of the lane."""
        task = asyncio.ensure_future(work)
        try:
            while not task.done():
                await workflow.wait_condition(
                    lambda: task.done() or self.inbox.pending or self._beside_is_over
                )
                free = self._clear_beside()
                if (await self._heed() or free) and not task.done():
                    view = await self._look()
                    await self._make_room(view)
                    self._go_beside(view)
        except asyncio.CancelledError:
            await settle(task)
            raise
        task.result()

    async def _make_room(self, view: LaneView) -> None:
        """Ask what runs to make room for the entry that supersedes it, once. The store says who and how."""
        entry = superseder(view)
        if view.running is None or entry is None or entry.deployment in self._asked:
            return
        self._asked = (*self._asked, entry.deployment)[-100:]
        handle = workflow.get_external_workflow_handle(deployment_workflow_id(view.running.deployment))
        try:
            await handle.signal(SUPERSEDE, {"by": entry.deployment})
        except FailureError as error:
            workflow.logger.info("%s is asked no more: %s", view.running.deployment, error)

    @property
    def _beside_is_over(self) -> bool:
        return self._beside is not None and self._beside.done()

    def _clear_beside(self) -> bool:
        """Whether what was started beside the rollout is over, so that the next may start."""
        if self._beside is None or not self._beside_is_over:
            return False
        self._beside.result()
        self._beside = None
        return True

    def _go_beside(self, view: LaneView) -> None:
        """Start what catches nodes up that the rollout does not concern."""
        entry = startable_beside(view)
        if entry is not None and self._beside is None:
            self._beside = asyncio.ensure_future(self._start(entry))

    async def _begin(self, entry: QueuedDeployment, view: LaneView) -> None:
        """Start an entry; in a lane that is frozen people have to permit it first."""
        if view.frozen is not None and view.override_gate is not None:
            self._resolved = False
            attributes = self._attributes(entry)
            if not await self._override.permits(entry, view.override_gate, view.frozen, attributes):
                return
        await self._start(entry)

    async def _start(self, queued: QueuedDeployment) -> None:
        """Run an entry to its end, whatever that end is."""
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
            traceparent=queued.traceparent,
            continues=queued.continues,
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
            traceparent=queued.traceparent,
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
            Records.load_lane,
            LaneLook(tenant=self._lane.tenant, environment=self._lane.environment, at=workflow.time()),
            summary="what runs, what waits",
            **RECORD,
        )
        self._show(view)
        return view

    async def _await_end(self, workflow_id: str) -> None:
        await workflow.execute_activity_method(
            Supervision.await_end, workflow_id, summary=f"wait for {workflow_id}", **SUPERVISION
        )

    async def _heed(self) -> bool:
        """Most signals only wake the lane; freeze and thaw are obeyed; what does not count is shown.

        Whether something new was submitted.
        """
        submitted = False
        while (message := self.inbox.take()) is not None:
            if not message.known:
                self._refuse(message.name, "no such signal")
            elif message.name in list(FreezeOrder):
                await self._freezes.obey(message)
            else:
                submitted = submitted or message.name == "submit"
                self._resolved = self._resolved or message.name == "resolve"
        return submitted

    def _refuse(self, what: str, why: str) -> None:
        self._refused = [*self._refused, f"{what}: {why}"][-20:]

    def _show(self, view: LaneView) -> None:
        running = view.running.deployment if view.running else "nothing"
        lines = [f"running: {running}; waiting: {max(view.waiting, len(view.queued))}"]
        if view.frozen:
            lines.append(f"\n**frozen**: {escape(view.frozen)}. Resolve with `hotswap resolve`.")
        if view.freeze:
            lines.append(f"\n**freeze**: {escape(view.freeze.words)}. Rollbacks still run.")
        lines += [
            f"\n- {escape(each.module)}@{escape(each.version)} ({each.deployment})"
            for each in view.queued[:20]
        ]
        lines += [f"\n- not counted: {escape(refused)}" for refused in self._refused]
        workflow.set_current_details("\n".join(lines))
        held = view.frozen is not None or (view.freeze is not None and startable(view) is None)
        phase = "running" if view.running else "frozen" if held else "running" if view.queued else "idle"
        waiting = "hotswap resolve" if view.frozen else f"thaw, {view.freeze.end}" if view.freeze else ""
        show_position(phase=phase, wave=None, waiting_for=waiting)

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

    @workflow.signal(description='Freeze now: {"actor": "you", "reason": "why"}. Rollbacks still run.')
    def freeze(self, body: Any = None, *extra: Any) -> None:
        """Let nothing start on nodes until thawed; needs no token."""
        self.inbox.put(FreezeOrder.FREEZE, body, extra)

    @workflow.signal(description='End what people froze: {"actor": "you", "reason": "why", "token": "…"}')
    def thaw(self, body: Any = None, *extra: Any) -> None:
        """Let rollouts go on; the calendar stays. With no body: look again."""
        self.inbox.put(FreezeOrder.THAW, body, extra)

    @workflow.signal(description="The freeze was resolved through the API. Look again.")
    def resolve(self, body: Any = None, *extra: Any) -> None:
        """Wake up: an operator has resolved the freeze."""
        self.inbox.put("resolve", body, extra)
