"""One release through several environments in order: a promotion's story, top to bottom.

Each environment's deployment is queued in that environment's lane, which starts it like any other: with its
own policy, gates and rollback. This workflow waits for its end and goes on, or stops: then the environments
before keep the release or are rolled back, as the promotion says for the environment that failed.
"""

import asyncio

from temporalio import workflow
from temporalio.exceptions import ActivityError

from domain.deployment import Cause, CauseKind, Phase
from domain.events import EventKind
from domain.promotion import OnFailure, PromotionPhase, PromotionStage
from domain.promotion_messages import (
    DeploymentKey,
    PromotionInput,
    PromotionResult,
    PromotionStatus,
    PromotionTerms,
    QueuedRollback,
    StageOrder,
    StageRollback,
    Standing,
)
from workflows.causes import cause_of
from workflows.controls import Halted
from workflows.inbox import Inbox
from workflows.options import RECORD
from workflows.promotion_board import PromotionBoard
from workflows.promotion_orders import PromotionCommanded, PromotionOrders
from workflows.tasks import to_the_end, within
from workflows.waking import wake_lane

with workflow.unsafe.imports_passed_through():
    from activities.promotion_orders import Promotions


@workflow.defn
class ReleaseWorkflow(PromotionCommanded):
    """Queues, waits, soaks, goes on; stops where the release is not taken."""

    @workflow.init
    def __init__(self, request: PromotionInput) -> None:
        self.inbox = Inbox()
        self._request = request
        self._board = PromotionBoard(request)
        self._orders = PromotionOrders(request, self.inbox, self._board)
        self._completed: list[int] = []
        self._unproved: list[str] = []

    @workflow.run
    async def run(self, request: PromotionInput) -> PromotionResult:
        """Environment after environment; completed, or stopped for a cause."""
        terms: PromotionTerms = await workflow.execute_activity_method(
            Promotions.promotion_terms, request, summary="environments and terms", **RECORD
        )
        self._board.begin(terms.stages)
        self._orders.authority.unsigned_allowed = terms.unsigned_allowed
        try:
            for position, stage in enumerate(terms.stages, start=1):
                self._board.reach(position)
                await self._safe_point()
                await self._bring(position, stage)
                if position < len(terms.stages):
                    await self._soak(stage)
            await self._safe_point()
        except Halted as halted:
            return await to_the_end(self._stop(halted.cause))
        except (asyncio.CancelledError, ActivityError) as error:
            return await to_the_end(self._stop(cause_of(error)))
        names = ", ".join(stage.environment for stage in terms.stages)
        await self._board.enter(PromotionPhase.COMPLETED, f"{self._release} runs in {names}")
        return PromotionResult(phase=PromotionPhase.COMPLETED)

    async def _bring(self, position: int, stage: PromotionStage) -> None:
        """Deploy to one environment. A pause takes a deployment that still waits out of the queue again.

        Raises:
            Halted: the environment did not take the release.
        """
        attempt = 1
        while True:
            order = StageOrder(promotion=self._request, position=position, attempt=attempt)
            deployment: str = await workflow.execute_activity_method(
                Promotions.queue_stage, order, summary=f"queue for {stage.environment}", **RECORD
            )
            self._board.show_stage(position, "queued", deployment)
            await self._board.enter(PromotionPhase.RUNNING, f"{stage.environment}: deployment {deployment}")
            end = await self._see_to_the_end(stage.environment, position, deployment)
            if end.phase is Phase.COMPLETED:
                self._completed.append(position)
                return
            if self._orders.aborted is not None or self._orders.withdrawn != deployment:
                raise Halted(self._why(end))
            await self._safe_point()
            attempt += 1

    async def _see_to_the_end(self, environment: str, position: int, deployment: str) -> Standing:
        """Wake the lane, wait for the deployment's end; meanwhile orders are heeded and passed on."""
        await wake_lane(self._request.tenant, environment, deployment)
        key = DeploymentKey(tenant=self._request.tenant, deployment=deployment)
        while True:
            standing: Standing = await workflow.execute_activity_method(
                Promotions.standing, key, summary=f"where {deployment} stands", **RECORD
            )
            self._orders.under_way = standing
            self._board.show_stage(position, f"{standing.phase}: {standing.message}")
            if standing.phase.terminal:
                await self._orders.read()
                return standing
            await workflow.wait_condition(lambda: self._orders.pending)
            await self._orders.read()

    async def _soak(self, stage: PromotionStage) -> None:
        """Let it run here before it goes on; a pause does not stop the clock, but holds what follows."""
        until = workflow.time() + stage.soak
        while (left := until - workflow.time()) > 0:
            await self._safe_point()
            await self._board.enter(
                PromotionPhase.SOAKING, f"soaks in {stage.environment}, {stage.soak:.0f} s in all"
            )
            await within(left, lambda: self._orders.pending, f"soak in {stage.environment}")

    async def _safe_point(self) -> None:
        """Between two environments: what was ordered is heeded; a pause holds here.

        Raises:
            Halted: somebody has aborted the promotion.
        """
        await self._orders.read()
        while self._orders.aborted is None and self._orders.paused_by is not None:
            if self._board.phase is not PromotionPhase.PAUSED:
                waiting_for = "a person: resume or abort"
                await self._board.enter(
                    PromotionPhase.PAUSED, self._orders.paused_by, waiting_for=waiting_for
                )
            await workflow.wait_condition(lambda: self._orders.pending)
            await self._orders.read()
        if self._orders.aborted is not None:
            raise Halted(self._orders.aborted)

    async def _stop(self, cause: Cause) -> PromotionResult:
        """The release goes no further. What it has reached is kept or taken back."""
        self._board.cause = cause
        await self._end_what_runs(cause)
        stage = self._board.stages[self._board.position - 1]
        if stage.on_failure is OnFailure.ROLLBACK and self._completed:
            return await self._take_back(cause)
        kept = ", ".join(self._board.stages[position - 1].environment for position in self._completed)
        words = f"{cause.message}; {f'kept in {kept}' if kept else 'no environment keeps it'}"
        await self._board.enter(PromotionPhase.STOPPED, words)
        return PromotionResult(phase=PromotionPhase.STOPPED, cause=cause, unverified=tuple(self._unproved))

    async def _end_what_runs(self, cause: Cause) -> None:
        """A deployment that is still under way (the promotion was cancelled) is aborted and waited for."""
        running = self._orders.under_way
        self._orders.turning_back = True
        if running is None:
            return
        if not running.phase.terminal:
            await self._orders.abort_under_way(cause)
            running = await self._see_to_the_end(
                running.environment, self._board.position, running.deployment
            )
        if running.phase is Phase.ROLLED_BACK_UNVERIFIED:
            self._unproved.append(running.environment)

    async def _take_back(self, cause: Cause) -> PromotionResult:
        """The environments that this promotion has changed, the last one first, each verified."""
        names = ", ".join(self._board.stages[each - 1].environment for each in reversed(self._completed))
        await self._board.enter(PromotionPhase.ROLLING_BACK, f"{cause.message}; taking back {names}")
        for position in reversed(self._completed):
            await self._take_back_one(position, cause)
        phase = (
            PromotionPhase.ROLLED_BACK_UNVERIFIED if self._unproved else PromotionPhase.ROLLED_BACK_VERIFIED
        )
        await self._board.enter(phase, f"{cause.message}; taken back: {names}")
        return PromotionResult(phase=phase, cause=cause, unverified=tuple(self._unproved))

    async def _take_back_one(self, position: int, cause: Cause) -> None:
        environment = self._board.stages[position - 1].environment
        order = StageRollback(
            promotion=self._request,
            position=position,
            requester=self._request.requester,
            reason=f"promotion {self._request.promotion}: {cause.message}"[:1000],
        )
        queued: QueuedRollback = await workflow.execute_activity_method(
            Promotions.queue_rollback, order, summary=f"queue the rollback of {environment}", **RECORD
        )
        if queued.deployment is None:
            await self._board.notice(EventKind.PROMOTION_PHASE, f"{environment}: {queued.reason}")
            return
        end = await self._see_to_the_end(environment, position, queued.deployment)
        if end.phase is not Phase.ROLLED_BACK_VERIFIED:
            self._unproved.append(environment)

    def _why(self, end: Standing) -> Cause:
        """A deployment's end as the promotion's cause; an abort of the promotion is its own."""
        if self._orders.aborted is not None:
            return self._orders.aborted
        kind = end.cause.kind if end.cause is not None else CauseKind.INTERNAL
        words = end.cause.message if end.cause is not None else end.message
        actor = end.cause.actor if end.cause is not None else None
        return Cause(kind=kind, message=f"{end.environment} {end.phase}: {words}", actor=actor)

    @property
    def _release(self) -> str:
        return f"{self._request.module}@{self._request.version}"

    @workflow.query(description="Where the promotion stands and why.")
    def status(self) -> PromotionStatus:
        """Phase, environment, deployment, what it waits for, cause."""
        return self._board.view()
