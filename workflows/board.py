"""What people see of a deployment: the stored record, the list view's columns, the current details."""

from dataclasses import dataclass
from typing import Final

from temporalio import workflow

from domain.analysis import Verdict
from domain.console import deployment_details
from domain.deployment import Cause, Phase
from domain.events import EventKind
from domain.messages import StatusView
from domain.plan import Plan
from workflows.attributes import FROM_VERSION, VERDICT, show_position
from workflows.chronicle import Chronicle

_HOLDS: Final = (Phase.PAUSED, Phase.FROZEN)


@dataclass(frozen=True)
class Work:
    """What a deployment is at, to come back to from a hold."""

    phase: Phase
    message: str
    wave: int | None


class Board:
    """Where a deployment stands. Each change goes to the console at once and into the store."""

    def __init__(self, chronicle: Chronicle) -> None:
        self._chronicle = chronicle
        self._verdict: Verdict | None = None
        self._message = ""
        self._waiting_for = ""
        self._wave: int | None = None
        self.phase = Phase.PLANNING
        self.work = Work(phase=self.phase, message="", wave=None)
        self.plan: Plan | None = None
        self.step = 0
        self.cause: Cause | None = None
        self.notices: list[str] = []

    async def enter(
        self, phase: Phase, message: str, *, wave: int | None = None, waiting_for: str = ""
    ) -> None:
        """The deployment is in this phase from now on: shown, and recorded."""
        self.show(phase, message, wave=wave, waiting_for=waiting_for)
        await self._chronicle.note(
            EventKind.FINISHED if phase.terminal else EventKind.PHASE,
            message,
            phase=phase,
            step=self.step,
            wave=wave,
            waiting_for=waiting_for,
            cause=self.cause,
        )

    async def go_on(self) -> None:
        """A hold is over: the deployment is at its work again."""
        await self.enter(self.work.phase, self.work.message, wave=self.work.wave)

    def show(self, phase: Phase, message: str, *, wave: int | None = None, waiting_for: str = "") -> None:
        """Bring the phase to the console; another workflow has recorded it or will."""
        self.phase, self._message, self._wave, self._waiting_for = phase, message, wave, waiting_for
        if phase not in _HOLDS:
            self.work = Work(phase=phase, message=message, wave=wave)
        show_position(phase=phase, wave=wave, waiting_for=waiting_for)
        self.refresh()

    def show_plan(self, plan: Plan) -> None:
        """The plan is made."""
        self.plan = plan
        workflow.upsert_search_attributes([FROM_VERSION.value_set(plan.replaces or "none")])

    async def take_verdict(self, verdict: Verdict, wave: int) -> None:
        """The judge has spoken."""
        self._verdict = verdict
        workflow.upsert_search_attributes([VERDICT.value_set(verdict.outcome)])
        words = f"wave {wave}: {verdict.outcome}: {verdict.reason}"
        await self._chronicle.note(
            EventKind.VERDICT, words, wave=wave, details=verdict.model_dump(mode="json")
        )

    async def notice(self, event: EventKind, words: str, *, actor: str | None = None) -> None:
        """Something worth showing that changes no phase: a command, a refused signal."""
        self.show_notice(words)
        await self._chronicle.note(event, words, actor=actor)

    def show_notice(self, words: str) -> None:
        """Bring it to the console; it is written down elsewhere."""
        self.notices.append(words)
        del self.notices[:-20]
        self.refresh()

    async def nodes_failed(self, words: str, wave: int) -> None:
        """Some nodes did not do as ordered."""
        await self._chronicle.note(EventKind.NODES_FAILED, words, wave=wave)

    def refresh(self) -> None:
        """Write the current details anew."""
        workflow.set_current_details(
            deployment_details(
                plan=self.plan,
                phase=self.phase,
                message=self._message,
                step=self.step,
                waiting_for=self._waiting_for,
                verdict=self._verdict,
                cause=self.cause,
                notices=tuple(self.notices),
            )
        )

    def view(self) -> StatusView:
        """The answer to the status query."""
        return StatusView(
            phase=self.phase,
            message=self._message,
            waiting_for=self._waiting_for,
            step=self.step,
            wave=self._wave,
            plan=self.plan.digest if self.plan else None,
            verdict=self._verdict,
            cause=self.cause,
        )
