"""Counters of limits in PostgreSQL.

One table of its own schema, without a log: a crash of the server forgets who has asked how often, nothing
else. It knows no tenants (a key names what is counted), so row-level security has nothing to do here. Expired
counters are overwritten when they are needed again and purged in batches otherwise.
"""

import hashlib
from typing import Final

from sqlalchemy import text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import create_async_engine

TABLE: Final = "hotswap_limits.counters"

# A window begins with the first hit; a hit after its end begins the next one.
_HIT = text(
    """
    INSERT INTO hotswap_limits.counters AS known (key, hits, ends_at)
    VALUES (:key, :amount, clock_timestamp() + make_interval(secs => :seconds))
    ON CONFLICT (key) DO UPDATE SET
        hits = CASE WHEN known.ends_at <= clock_timestamp() THEN 0 ELSE known.hits END + :amount,
        ends_at = CASE WHEN known.ends_at <= clock_timestamp() THEN excluded.ends_at ELSE known.ends_at END
    RETURNING hits, extract(epoch FROM ends_at - clock_timestamp())
    """
)
_PURGE = text(
    """
    DELETE FROM hotswap_limits.counters WHERE key IN (
        SELECT key FROM hotswap_limits.counters
        WHERE ends_at <= clock_timestamp() LIMIT :batch FOR UPDATE SKIP LOCKED
    )
    """
)


class LimitCounters:
    """Counts together with every other process that uses the same database.

    Args:
        url: as store.database has it.
        pool_size: connections of its own; each hit is one statement that commits by itself.
    """

    def __init__(self, url: str, *, pool_size: int = 5) -> None:
        self._engine = create_async_engine(
            url, pool_size=pool_size, max_overflow=0, isolation_level="AUTOCOMMIT"
        )

    async def take(self, key: str, amount: int, *, seconds: int) -> tuple[int, float]:
        """Count so many more; how many there are now, and the seconds until the present window ends.

        A connection that has died since its last use is replaced once.
        """
        values = {"key": _short(key), "amount": amount, "seconds": seconds}
        for last in (False, True):
            try:
                async with self._engine.connect() as connection:
                    counted, left = (await connection.execute(_HIT, values)).one()
                    break
            except DBAPIError as error:
                if last or not error.connection_invalidated:
                    raise
        return int(counted), float(left)

    async def purge(self, batch: int) -> int:
        """Drop expired counters, at most `batch`; how many."""
        async with self._engine.connect() as connection:
            return (await connection.execute(_PURGE, {"batch": batch})).rowcount

    async def dispose(self) -> None:
        """Close all connections."""
        await self._engine.dispose()


def _short(key: str) -> str:
    """Keys hold what clients send; all are equally long here."""
    return hashlib.sha256(key.encode()).hexdigest()
