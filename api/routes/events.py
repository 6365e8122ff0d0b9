"""Live streams of deployments and promotions: server-sent events (HTML standard, "Server-sent events")."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from http import HTTPStatus
from typing import Annotated, Any, Final

from fastapi import APIRouter, Header, Request, Response
from sqlalchemy.ext.asyncio import AsyncSession
from sse_starlette import EventSourceResponse, ServerSentEvent

from api.access import Caller, Viewer, still_allowed
from api.services import Hands
from api.streams import SEND_SECONDS, CountedStream
from domain.errors import HotswapError, InvalidInput
from store import deployments, events, promotions
from store.database import Database
from store.records import StoredEvent

router = APIRouter(tags=["events"])

LOOK_EVERY: Final = 0.5  # seconds between two looks at the store
ASK_EVERY: Final = 5.0  # seconds between two looks whether the reader may still read
ENDED: Final = "authorization.ended"
KEEP_ALIVE: Final = 15  # seconds of silence after which a comment is sent


_STREAM: Final[dict[int | str, dict[str, Any]]] = {
    HTTPStatus.NO_CONTENT: {"description": "It has ended and every event was seen."}
}

LastEventId = Annotated[str | None, Header(max_length=20)]
Over = Callable[[AsyncSession], Awaitable[bool]]
After = Callable[[AsyncSession, int], Awaitable[list[StoredEvent]]]


@router.get("/deployments/{deployment}/events", response_class=EventSourceResponse, responses=_STREAM)
async def stream(
    deployment: str, caller: Viewer, hands: Hands, request: Request, last_event_id: LastEventId = None
) -> Response:
    """All events from the one after Last-Event-ID on, as they happen; ends with the deployment.

    It ends too, with an event `authorization.ended`, when the token expires or is revoked meanwhile.
    """
    tenant = caller.tenant

    async def over(session: AsyncSession) -> bool:
        return (await deployments.get(session, tenant, deployment)).phase.terminal

    async def after(session: AsyncSession, cursor: int) -> list[StoredEvent]:
        return await events.after(session, tenant, deployment, cursor)

    source = _Source(hands.database, tenant, over, after)
    return await _stream(source, caller, request, last_event_id)


@router.get("/promotions/{promotion}/events", response_class=EventSourceResponse, responses=_STREAM)
async def stream_promotion(
    promotion: str, caller: Viewer, hands: Hands, request: Request, last_event_id: LastEventId = None
) -> Response:
    """All events from the one after Last-Event-ID on, as they happen; ends with the promotion.

    It ends too, with an event `authorization.ended`, when the token expires or is revoked meanwhile.
    """
    tenant = caller.tenant

    async def over(session: AsyncSession) -> bool:
        return (await promotions.get(session, tenant, promotion)).phase.terminal

    async def after(session: AsyncSession, cursor: int) -> list[StoredEvent]:
        return await events.of_promotion_after(session, tenant, promotion, cursor)

    source = _Source(hands.database, tenant, over, after)
    return await _stream(source, caller, request, last_event_id)


@dataclass(frozen=True)
class _Source:
    """Where the events of one thing are read, and whether more can come."""

    database: Database
    tenant: str
    over: Over
    after: After


async def _stream(source: _Source, caller: Caller, request: Request, last_event_id: str | None) -> Response:
    cursor = _cursor(last_event_id)
    async with source.database.transaction(source.tenant) as session:
        ended = await source.over(session)
        waiting = await source.after(session, cursor)
    if ended and not waiting and last_event_id is not None:
        return Response(status_code=HTTPStatus.NO_CONTENT)  # tells a browser not to come back
    watched = _while_allowed(_follow(source, cursor), request)
    stream = CountedStream(
        watched, ping=KEEP_ALIVE, headers={"Cache-Control": "no-store"}, send_timeout=SEND_SECONDS
    )
    stream.count(request.app.state.streams, caller)
    return stream


async def _while_allowed(
    found: AsyncIterator[ServerSentEvent | None], request: Request
) -> AsyncIterator[ServerSentEvent]:
    """The same, for as long as whoever asked may still see it."""
    loop = asyncio.get_running_loop()
    checked = loop.time()
    async for event in found:
        if loop.time() - checked >= ASK_EVERY:
            checked = loop.time()
            try:
                await still_allowed(request)
            except HotswapError as error:
                yield ServerSentEvent(event=ENDED, data=json.dumps({"code": error.code}))
                return
        if event is not None:
            yield event


async def _follow(source: _Source, cursor: int) -> AsyncIterator[ServerSentEvent | None]:
    """Event after event, until the end is written and none is left; None after a look for nothing.

    The phase is read before the events: an end that is seen has its events in the store already.
    """
    while True:
        async with source.database.transaction(source.tenant) as session:
            over = await source.over(session)
        async with source.database.transaction(source.tenant) as session:
            found = await source.after(session, cursor)
        for event in found:
            yield _sent(event)
            cursor = event.id
        if over and not found:
            return
        if not found:
            yield None
            await asyncio.sleep(LOOK_EVERY)


def _sent(event: StoredEvent) -> ServerSentEvent:
    subjects = (("deployment", event.deployment), ("promotion", event.promotion))
    content = {
        **event.payload,
        "id": event.id,
        "kind": event.kind,
        **{name: value for name, value in subjects if value is not None},
        "at": event.at.isoformat(),
    }
    return ServerSentEvent(id=str(event.id), event=event.kind, data=json.dumps(content, ensure_ascii=False))


def _cursor(last_event_id: str | None) -> int:
    try:
        return max(0, int(last_event_id or 0))
    except ValueError as error:
        raise InvalidInput("not an id of an event", field="Last-Event-ID") from error
