"""What has expired is dropped, in batches, so that tables do not grow with time."""

import asyncio
import logging
from datetime import UTC, datetime, timedelta
from typing import Final

from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from store import idempotency, sessions
from store.bundles import BundleDirectory
from store.database import Database
from store.limits import LimitCounters

_log = logging.getLogger(__name__)

EVERY: Final = 60.0  # seconds
BATCH: Final = 5000
SESSIONS_STAY: Final = timedelta(days=1)  # beyond their end, so that a late refresh is told the truth

UPLOADS_STAY: Final = 86400.0  # seconds; none takes as long


async def tidy(database: Database, counters: LimitCounters, bundles: BundleDirectory) -> None:
    """For ever, every minute."""
    while True:
        await asyncio.sleep(EVERY)
        try:
            await tidy_once(database, counters)
            await asyncio.to_thread(bundles.sweep, older_than=UPLOADS_STAY)
        except (DBAPIError, PoolTimeout, OSError) as error:
            _log.warning("nothing is tidied: %s", error)


async def tidy_once(database: Database, counters: LimitCounters) -> int:
    """Batch after batch until nothing expired is left; how many rows were dropped."""
    dropped = 0
    while found := await counters.purge(BATCH):
        dropped += found
    ended = datetime.now(UTC) - SESSIONS_STAY
    while found := await _purge_sessions(database, ended):
        dropped += found
    while found := await _purge_keys(database):
        dropped += found
    return dropped


async def _purge_keys(database: Database) -> int:
    async with database.system() as session:
        return await idempotency.purge(session, limit=BATCH)


async def _purge_sessions(database: Database, ended: datetime) -> int:
    async with database.system() as session:
        return await sessions.purge(session, before=ended, limit=BATCH)
