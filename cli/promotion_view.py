"""The live view of a promotion: its environments in order, each with its state and what it waits for."""

from datetime import datetime
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from cli.view import BAD, BUSY, GOOD, QUIET, duration
from domain.base import Frozen
from domain.deployment import Cause
from domain.promotion import PromotionPhase, StageState

PHASE_MARKS = {
    PromotionPhase.RUNNING: ("▶", BUSY),
    PromotionPhase.SOAKING: ("◷", BUSY),
    PromotionPhase.PAUSED: ("॥", "bold yellow"),
    PromotionPhase.ROLLING_BACK: ("↩", "bold yellow"),
    PromotionPhase.COMPLETED: ("✔", GOOD),
    PromotionPhase.STOPPED: ("✖", BAD),
    PromotionPhase.ROLLED_BACK_VERIFIED: ("↩", "yellow"),
    PromotionPhase.ROLLED_BACK_UNVERIFIED: ("✖", BAD),
}
STAGE_MARKS = {
    StageState.PENDING: ("○", QUIET),
    StageState.QUEUED: ("◷", QUIET),
    StageState.DEPLOYING: ("▶", BUSY),
    StageState.SOAKING: ("◷", BUSY),
    StageState.COMPLETED: ("✔", GOOD),
    StageState.FAILED: ("✖", BAD),
    StageState.ROLLING_BACK: ("↩", "bold yellow"),
    StageState.ROLLED_BACK: ("↩", "yellow"),
    StageState.UNVERIFIED: ("✖", BAD),
    StageState.NOT_REACHED: ("○", QUIET),
}


class StageFrame(Frozen):
    """One environment."""

    environment: str
    state: StageState
    soaks_until: datetime | None = None
    deployment: str | None = None
    message: str = ""
    waiting_for: str = ""
    rollback: str | None = None
    note: str = ""


class PromotionFrame(Frozen):
    """Everything the view needs, read tolerantly from the API's answer."""

    id: str
    tenant: str
    module: str
    version: str
    requester: str
    created_at: datetime
    phase: PromotionPhase
    message: str = ""
    waiting_for: str = ""
    cause: Cause | None = None
    stages: tuple[StageFrame, ...] = ()


def promotion_headline(answer: dict[str, Any], now: datetime) -> str:
    """The first line of the view as plain text."""
    return _headline(PromotionFrame.model_validate(answer), now).plain


def render_promotion(answer: dict[str, Any], now: datetime, notice: str | None) -> RenderableType:
    """The whole picture of an answer to GET /promotions/{id}."""
    frame = PromotionFrame.model_validate(answer)
    rows = Table.grid(padding=(0, 2))
    rows.add_column(style="bold", no_wrap=True)
    rows.add_column()
    rows.add_row("promotion", _headline(frame, now))
    words = f"{frame.cause.kind}: {frame.cause.message}" if frame.cause else frame.message
    rows.add_row("why", Text(words or frame.waiting_for or "—"))
    parts: list[RenderableType] = [rows, _stages(frame, now)]
    if notice is not None:
        parts.append(Text(f"⚠ {notice}", "yellow"))
    return Group(*parts)


def _headline(frame: PromotionFrame, now: datetime) -> Text:
    mark, style = PHASE_MARKS[frame.phase]
    asked = frame.created_at.astimezone(now.tzinfo).strftime("%H:%M:%S")
    names = " → ".join(stage.environment for stage in frame.stages)
    return Text.assemble(
        (f"{frame.module} {frame.version}", "bold"),
        f"   {frame.tenant}: {names}   ",
        (f"{mark} {str(frame.phase).replace('-', ' ').upper()}", style),
        f"   by {frame.requester}, {asked}",
    )


def _stages(frame: PromotionFrame, now: datetime) -> Table:
    table = Table.grid(padding=(0, 2))
    for stage in frame.stages:
        mark, style = STAGE_MARKS[stage.state]
        table.add_row(
            stage.environment,
            Text(f"{mark} {stage.state}", style),
            stage.rollback or stage.deployment or "—",
            Text(_told(stage, now)),
        )
    return table


def _told(stage: StageFrame, now: datetime) -> str:
    if stage.state is StageState.SOAKING and stage.soaks_until is not None:
        return f"{duration(stage.soaks_until - now)} left"
    if stage.waiting_for:
        return f"waits for {stage.waiting_for}"
    return stage.note or stage.message
