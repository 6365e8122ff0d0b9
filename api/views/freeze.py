"""Freezes as the API shows them."""

from datetime import UTC, datetime
from enum import StrEnum
from typing import Self

from pydantic import BaseModel

from domain import calendar
from domain.calendar import CalendarWindow
from domain.freeze import Freeze
from store import freezes
from store.records import StoredFreeze


class FreezeKind(StrEnum):
    """From the calendar, or begun by a person."""

    CALENDAR = "calendar"
    AD_HOC = "ad-hoc"


class FreezeView(BaseModel):
    """One freeze. `next_start` is when a window of the calendar begins next, within a year."""

    id: str
    kind: FreezeKind
    name: str | None
    reason: str
    holds: bool
    until: datetime | None
    next_start: datetime | None
    window: CalendarWindow | None
    created_by: str
    created_at: datetime
    removed_by: str | None
    removed_at: datetime | None
    removal_reason: str | None

    @classmethod
    def of(cls, stored: StoredFreeze, now: datetime) -> Self:
        """From the store's row."""
        window = stored.calendar
        alone = None if stored.removed_at is not None else freezes.state([stored], now.timestamp())
        return cls(
            id=stored.id,
            kind=FreezeKind.AD_HOC if window is None else FreezeKind.CALENDAR,
            name=window.name if window else None,
            reason=stored.reason,
            holds=alone is not None,
            until=datetime.fromtimestamp(alone.until, tz=UTC) if alone and alone.until else stored.until,
            next_start=calendar.next_start([window], now) if window and stored.removed_at is None else None,
            window=window,
            created_by=stored.created_by,
            created_at=stored.created_at,
            removed_by=stored.removed_by,
            removed_at=stored.removed_at,
            removal_reason=stored.removal_reason,
        )


class FreezesView(BaseModel):
    """Whether the environment is frozen now, and its freezes."""

    environment: str
    freeze: Freeze | None
    items: list[FreezeView]


def freezes_view(environment: str, stored: list[StoredFreeze], now: datetime) -> FreezesView:
    """Put it together, as of `now`."""
    live = [each for each in stored if each.removed_at is None]
    return FreezesView(
        environment=environment,
        freeze=freezes.state(live, now.timestamp()),
        items=[FreezeView.of(each, now) for each in stored],
    )
