"""All events of a tenant in one order, to be read from a cursor without missing any.

Ids are given out before transactions commit, so of two deployments' events the later id may show first.
The feed is therefore ordered by transaction, and ends before the oldest transaction that is still open:
nothing can appear in front of what was read.
"""

from datetime import datetime

from sqlalchemy import select, text, tuple_
from sqlalchemy.ext.asyncio import AsyncSession

from domain.base import Frozen
from domain.events import EventKind
from store.records import Page, StoredEvent
from store.tables import EventRow

_SETTLED = text("events.transaction < pg_snapshot_xmin(pg_current_snapshot())::text::bigint")


class Position(Frozen):
    """A place in the feed: just after this event."""

    transaction: int
    id: int


class FeedEvent(Frozen):
    """One event, and its place."""

    position: Position
    event: StoredEvent
    at: datetime


async def after(
    session: AsyncSession,
    tenant: str,
    position: Position | None,
    *,
    kind: EventKind | None = None,
    limit: int = 100,
) -> Page[FeedEvent]:
    """The events after a position (None: from the first), oldest first."""
    place = (EventRow.transaction, EventRow.id)
    statement = select(EventRow).where(EventRow.tenant == tenant, _SETTLED)
    if kind is not None:
        statement = statement.where(EventRow.kind == kind)
    if position is not None:
        statement = statement.where(tuple_(*place) > tuple_(position.transaction, position.id))
    rows = (await session.scalars(statement.order_by(*place).limit(limit + 1))).all()
    return Page(items=tuple(_event(row) for row in rows[:limit]), more=len(rows) > limit)


def _event(row: EventRow) -> FeedEvent:
    return FeedEvent(
        position=Position(transaction=row.transaction, id=row.id),
        event=StoredEvent.model_validate(row, from_attributes=True),
        at=row.at,
    )
