"""Alive, ready, and how it goes: for supervisors and monitoring. No signing in."""

import asyncio
from collections.abc import Callable, Coroutine
from datetime import timedelta
from http import HTTPStatus
from typing import Any, Final, TypeVar

from cachetools import TTLCache
from fastapi import APIRouter, Request, Response
from prometheus_client.exposition import CONTENT_TYPE_LATEST
from sqlalchemy import text
from sqlalchemy.exc import SQLAlchemyError
from temporalio.service import RPCError

from api.access import OPEN
from api.metrics import Metrics
from api.services import Hands, Services
from api.together import Together
from domain.health import HEARTBEAT_SECONDS, MISSED_HEARTBEATS
from store import counts
from store.counts import Counts

Found = TypeVar("Found")

router = APIRouter(tags=["operations"], dependencies=[OPEN])

PATIENCE: Final = 2.0  # seconds that a dependency has to answer


class Lately:
    """What was found a moment ago, for who asks again: nobody has to sign in to ask, as often as he likes."""

    def __init__(self, seconds: float = 1.0) -> None:
        self._found: TTLCache[str, Any] = TTLCache(maxsize=8, ttl=seconds)
        self._asking: Together[Any] = Together()

    async def get(self, name: str, ask: Callable[[], Coroutine[Any, Any, Found]]) -> Found:
        """What `ask` finds, or has found less than `seconds` ago; of many at once one asks."""
        found: Found | None = self._found.get(name)
        if found is None:
            found = self._found[name] = await self._asking.ask(name, ask)
        return found


@router.get("/healthz")
async def alive() -> dict[str, str]:
    """The process answers."""
    return {"status": "alive"}


@router.get("/readyz", responses={HTTPStatus.SERVICE_UNAVAILABLE: {"description": "Something is away."}})
async def ready(request: Request, hands: Hands, response: Response) -> dict[str, bool]:
    """Whether the database and Temporal answer, asked within the last second."""
    lately: Lately = request.app.state.lately
    database, temporal = await lately.get("ready", lambda: _both_answer(hands))
    if not (database and temporal):
        response.status_code = HTTPStatus.SERVICE_UNAVAILABLE
    return {"database": database, "temporal": temporal}


@router.get("/metrics", response_class=Response)
async def metrics(request: Request, hands: Hands) -> Response:
    """Prometheus text."""
    collected: Metrics = request.app.state.metrics
    lately: Lately = request.app.state.lately
    numbers = await lately.get("numbers", lambda: _counted(hands))
    return Response(collected.text(numbers), media_type=CONTENT_TYPE_LATEST)


async def _both_answer(hands: Services) -> tuple[bool, bool]:
    return await asyncio.gather(_database_answers(hands), _temporal_answers(hands))


async def _counted(hands: Services) -> Counts:
    async with hands.database.system() as session:
        return await counts.count(session, silent_after=HEARTBEAT_SECONDS * MISSED_HEARTBEATS)


async def _database_answers(hands: Services) -> bool:
    try:
        async with asyncio.timeout(PATIENCE), hands.database.system() as session:
            await session.execute(text("SELECT 1"))
    except (SQLAlchemyError, OSError, TimeoutError):
        return False
    return True


async def _temporal_answers(hands: Services) -> bool:
    try:
        return await hands.temporal.service_client.check_health(timeout=timedelta(seconds=PATIENCE))
    except RPCError:
        return False
