"""What people see of a promotion: the stored record, the list view's columns, the current details."""

from typing import Any

from temporalio import workflow

from domain.console import clip
from domain.deployment import Cause
from domain.events import EventKind
from domain.promotion import PromotionPhase, PromotionStage
from domain.promotion_console import promotion_details
from domain.promotion_messages import PromotionInput, PromotionProgress, PromotionStatus
from workflows.attributes import ENVIRONMENT, MODULE, TENANT, TO_VERSION, show_position
from workflows.options import RECORD

with workflow.unsafe.imports_passed_through():
    from activities.promotion_orders import Promotions

NOTICES_KEPT = 20


class PromotionBoard:
    """Where a promotion stands. Each change goes to the console at once and into the store."""

    def __init__(self, request: PromotionInput) -> None:
        self._request = request
        self._entries = 0
        self._message = ""
        self._waiting_for = ""
        self._deployments: dict[int, str] = {}
        self._said: dict[int, str] = {}
        self._notices: list[str] = []
        self.phase = PromotionPhase.RUNNING
        self.stages: tuple[PromotionStage, ...] = ()
        self.position = 1
        self.cause: Cause | None = None

    async def enter(self, phase: PromotionPhase, message: str, *, waiting_for: str = "") -> None:
        """The promotion is in this phase from now on: shown, and recorded."""
        self.phase, self._message = phase, message
        self.show_waiting(waiting_for)
        await self._note(
            EventKind.PROMOTION_FINISHED if phase.terminal else EventKind.PROMOTION_PHASE,
            message,
            phase=phase,
            position=self.position,
            waiting_for=waiting_for,
            cause=self.cause,
        )

    def show_waiting(self, waiting_for: str) -> None:
        """Bring what is waited for to the console."""
        self._waiting_for = waiting_for
        show_position(phase=self.phase, wave=None, waiting_for=waiting_for)
        self.refresh()

    def show_stage(self, position: int, words: str, deployment: str | None = None) -> None:
        """The last that is known of an environment."""
        self._said[position] = words
        if deployment is not None:
            self._deployments[position] = deployment
        self.refresh()

    def begin(self, stages: tuple[PromotionStage, ...]) -> None:
        """The environments are known."""
        self.stages = stages
        workflow.upsert_search_attributes(
            [
                TENANT.value_set(self._request.tenant),
                MODULE.value_set(self._request.module),
                TO_VERSION.value_set(self._request.version),
            ]
        )

    def reach(self, position: int) -> None:
        """The promotion has come to this environment."""
        self.position = position
        workflow.upsert_search_attributes([ENVIRONMENT.value_set(self.stages[position - 1].environment)])

    async def notice(self, event: EventKind, words: str, *, actor: str | None = None) -> None:
        """Something worth showing that changes no phase: a command, a refused signal."""
        self._notices = [*self._notices, words][-NOTICES_KEPT:]
        self.refresh()
        await self._note(event, words, actor=actor)

    def refresh(self) -> None:
        """Write the current details anew."""
        workflow.set_current_details(
            promotion_details(
                stages=self.stages,
                deployments=self._deployments,
                said=self._said,
                phase=self.phase,
                message=self._message,
                waiting_for=self._waiting_for,
                cause=self.cause,
                notices=tuple(self._notices),
            )
        )

    def view(self) -> PromotionStatus:
        """The answer to the status query."""
        return PromotionStatus(
            phase=self.phase,
            message=self._message,
            environment=self.stages[self.position - 1].environment if self.stages else None,
            deployment=self._deployments.get(self.position),
            waiting_for=self._waiting_for,
            cause=self.cause,
        )

    async def _note(self, event: EventKind, message: str, **facts: Any) -> None:
        self._entries += 1
        progress = PromotionProgress(
            tenant=self._request.tenant,
            promotion=self._request.promotion,
            key=f"promotion-{self._entries}",
            event=event,
            message=clip(message, 2000),
            **facts,
        )
        summary = clip(progress.phase or event)
        await workflow.execute_activity_method(
            Promotions.record_promotion, progress, summary=summary, **RECORD
        )
