"""The live stream of one deployment: server-sent events (HTML standard, "Server-sent events")."""

import asyncio
import json
from collections.abc import AsyncIterator
from http import HTTPStatus
from typing import Annotated, Final

from fastapi import APIRouter, Header, Request, Response
from sse_starlette import EventSourceResponse, ServerSentEvent

from api.access import Viewer, still_allowed
from api.services import Hands
from domain.errors import HotswapError, InvalidInput
from store import deployments, events
from store.database import Database
from store.records import StoredEvent

router = APIRouter(prefix="/deployments", tags=["deployments"])

LOOK_EVERY: Final = 0.5  # seconds between two looks at the store
ASK_EVERY: Final = 5.0  # seconds between two looks whether the reader may still read
ENDED: Final = "authorization.ended"
KEEP_ALIVE: Final = 15  # seconds of silence after which a comment is sent


@router.get(
    "/{deployment}/events",
    response_class=EventSourceResponse,
    responses={HTTPStatus.NO_CONTENT: {"description": "It has ended and every event was seen."}},
)
async def stream(
    deployment: str,
    caller: Viewer,
    hands: Hands,
    request: Request,
    last_event_id: Annotated[str | None, Header(max_length=20)] = None,
) -> Response:
    """All events from the one after Last-Event-ID on, as they happen; ends with the deployment.

    It ends too, with an event `authorization.ended`, when the token expires or is revoked meanwhile.
    """
    cursor = _cursor(last_event_id)
    async with hands.database.transaction(caller.tenant) as session:
        stored = await deployments.get(session, caller.tenant, deployment)
        waiting = await events.after(session, caller.tenant, deployment, cursor, limit=1)
    if stored.phase.terminal and not waiting and last_event_id is not None:
        return Response(status_code=HTTPStatus.NO_CONTENT)  # tells a browser not to come back
    found = _follow(hands.database, caller.tenant, deployment, cursor)
    watched = _while_allowed(found, request)
    return EventSourceResponse(watched, ping=KEEP_ALIVE, headers={"Cache-Control": "no-store"})


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


async def _follow(
    database: Database, tenant: str, deployment: str, cursor: int
) -> AsyncIterator[ServerSentEvent | None]:
    """Event after event, until the deployment has ended and none is left; None after a look for nothing.

    The phase is read before the events: an end that is seen has its events in the store already.
    """
    while True:
        async with database.transaction(tenant) as session:
            over = (await deployments.get(session, tenant, deployment)).phase.terminal
        async with database.transaction(tenant) as session:
            found = await events.after(session, tenant, deployment, cursor)
        for event in found:
            yield _sent(event)
            cursor = event.id
        if over and not found:
            return
        if not found:
            yield None
            await asyncio.sleep(LOOK_EVERY)


def _sent(event: StoredEvent) -> ServerSentEvent:
    content = {
        **event.payload,
        "id": event.id,
        "kind": event.kind,
        "deployment": event.deployment,
        "at": event.at.isoformat(),
    }
    return ServerSentEvent(id=str(event.id), event=event.kind, data=json.dumps(content, ensure_ascii=False))


def _cursor(last_event_id: str | None) -> int:
    try:
        return max(0, int(last_event_id or 0))
    except ValueError as error:
        raise InvalidInput("not an id of an event", field="Last-Event-ID") from error
