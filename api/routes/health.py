"""Alive, ready, and how it goes: for supervisors and monitoring. No signing in."""

import asyncio
from datetime import timedelta
from http import HTTPStatus
from typing import Final

from fastapi import APIRouter, Request, Response
from prometheus_client.exposition import CONTENT_TYPE_LATEST
from sqlalchemy import text
from sqlalchemy.exc import SQLAlchemyError
from temporalio.service import RPCError

from api.access import OPEN
from api.metrics import Metrics
from api.services import Hands, Services
from domain.health import HEARTBEAT_SECONDS, MISSED_HEARTBEATS
from store import counts

router = APIRouter(tags=["operations"], dependencies=[OPEN])

PATIENCE: Final = 2.0  # seconds that a dependency has to answer


@router.get("/healthz")
async def alive() -> dict[str, str]:
    """The process answers."""
    return {"status": "alive"}


@router.get("/readyz", responses={HTTPStatus.SERVICE_UNAVAILABLE: {"description": "Something is away."}})
async def ready(hands: Hands, response: Response) -> dict[str, bool]:
    """Whether the database and Temporal answer, asked now."""
    database, temporal = await asyncio.gather(_database_answers(hands), _temporal_answers(hands))
    if not (database and temporal):
        response.status_code = HTTPStatus.SERVICE_UNAVAILABLE
    return {"database": database, "temporal": temporal}


@router.get("/metrics", response_class=Response)
async def metrics(request: Request, hands: Hands) -> Response:
    """Prometheus text."""
    collected: Metrics = request.app.state.metrics
    async with hands.database.system() as session:
        numbers = await counts.count(session, silent_after=HEARTBEAT_SECONDS * MISSED_HEARTBEATS)
    return Response(collected.text(numbers), media_type=CONTENT_TYPE_LATEST)


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
