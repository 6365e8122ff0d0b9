"""All events of the tenant from a cursor: for whoever follows everything, such as a data warehouse."""

import re
from datetime import datetime
from typing import Annotated, Any, Final

from fastapi import APIRouter, Query
from pydantic import BaseModel, ConfigDict

from api.access import Viewer
from api.paging import Cursor, Limit
from api.services import Hands
from domain.errors import InvalidInput
from domain.events import EventKind
from store import feed
from store.feed import FeedEvent, Position

router = APIRouter(prefix="/events", tags=["events"])

_CURSOR: Final = re.compile(r"([0-9]{1,18})-([0-9]{1,18})")


class FeedQuery(BaseModel):
    """From where on, and which."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    limit: Limit = 100
    cursor: Cursor | None = None
    kind: EventKind | None = None


class EventView(BaseModel):
    """One event; one of `deployment`, `approval` and `promotion` says what it is about."""

    id: int
    kind: str
    at: datetime
    deployment: str | None
    approval: str | None
    promotion: str | None
    payload: dict[str, Any]

    @classmethod
    def of(cls, found: FeedEvent) -> "EventView":
        """The event as others see it."""
        return cls.model_validate(found.event.model_dump())


class Feed(BaseModel):
    """Some events, oldest first. Go on with `cursor`, at once when there is `more`, later otherwise."""

    items: list[EventView]
    cursor: str | None
    more: bool


@router.get("")
async def list_events(query: Annotated[FeedQuery, Query()], caller: Viewer, hands: Hands) -> Feed:
    """The tenant's events after a cursor; without one from the first. None is missed, none comes twice."""
    position = _position(query.cursor)
    async with hands.database.transaction(caller.tenant) as session:
        page = await feed.after(session, caller.tenant, position, kind=query.kind, limit=query.limit)
    last = page.items[-1].position if page.items else position
    return Feed(
        items=[EventView.of(each) for each in page.items],
        cursor=f"{last.transaction}-{last.id}" if last else None,
        more=page.more,
    )


def _position(cursor: str | None) -> Position | None:
    if cursor is None:
        return None
    found = _CURSOR.fullmatch(cursor)
    if found is None:
        raise InvalidInput("the cursor is not one of ours", field="cursor")
    return Position(transaction=int(found[1]), id=int(found[2]))
