"""Counters of limits in PostgreSQL, as a storage of the `limits` library.

One table of its own schema, without a log: a crash of the server forgets who has asked how often, nothing
else. It knows no tenants (a key names what is counted), so row-level security has nothing to do here. Expired
counters are overwritten when they are needed again and purged in batches otherwise.
"""

import hashlib
from typing import Any, Final

from limits.aio.storage import Storage
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError, SQLAlchemyError
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
    RETURNING hits
    """
)
_READ = text(
    "SELECT hits, extract(epoch FROM ends_at) FROM hotswap_limits.counters"
    " WHERE key = :key AND ends_at > clock_timestamp()"
)
_FORGET = text("DELETE FROM hotswap_limits.counters WHERE key = :key")
_FORGET_ALL = text("DELETE FROM hotswap_limits.counters")
_PURGE = text(
    """
    DELETE FROM hotswap_limits.counters WHERE key IN (
        SELECT key FROM hotswap_limits.counters
        WHERE ends_at <= clock_timestamp() LIMIT :batch FOR UPDATE SKIP LOCKED
    )
    """
)


class PostgresStorage(Storage):
    """Counts together with every other process that uses the same database.

    Args:
        url: as store.database has it.
        pool_size: connections of its own; each hit is one statement that commits by itself.
    """

    STORAGE_SCHEME: list[str] | None = None  # made by hand, never found by a URL

    def __init__(self, url: str, *, pool_size: int = 5) -> None:
        super().__init__()
        self._engine = create_async_engine(
            url, pool_size=pool_size, max_overflow=pool_size, isolation_level="AUTOCOMMIT"
        )

    @property
    def base_exceptions(self) -> type[Exception]:
        """What may go wrong here."""
        return SQLAlchemyError

    async def incr(self, key: str, expiry: int, amount: int = 1) -> int:
        """Count, and say how many there are in the present window of `expiry` seconds."""
        found = await self._run(_HIT, key=_short(key), amount=amount, seconds=expiry)
        return int(found[0])

    async def get(self, key: str) -> int:
        """How many there are in the present window."""
        found = await self._run(_READ, key=_short(key))
        return int(found[0]) if found else 0

    async def get_expiry(self, key: str) -> float:
        """When the present window ends, in seconds since 1970; 0 when there is none."""
        found = await self._run(_READ, key=_short(key))
        return float(found[1]) if found else 0.0

    async def check(self) -> bool:
        """Whether the table can be read."""
        await self._run(_READ, key="")
        return True

    async def reset(self) -> int:
        """Forget everything; how many counters there were."""
        async with self._engine.connect() as connection:
            return (await connection.execute(_FORGET_ALL)).rowcount

    async def clear(self, key: str) -> None:
        """Forget one counter."""
        async with self._engine.connect() as connection:
            await connection.execute(_FORGET, {"key": _short(key)})

    async def purge(self, batch: int) -> int:
        """Drop expired counters, at most `batch`; how many."""
        async with self._engine.connect() as connection:
            return (await connection.execute(_PURGE, {"batch": batch})).rowcount

    async def dispose(self) -> None:
        """Close all connections."""
        await self._engine.dispose()

    async def _run(self, statement: Any, **values: Any) -> Any:
        """Run one statement; a connection that has died since its last use is replaced once."""
        for last in (False, True):
            try:
                async with self._engine.connect() as connection:
                    return (await connection.execute(statement, values)).first()
            except DBAPIError as error:
                if last or not error.connection_invalidated:
                    raise
        return None


def _short(key: str) -> str:
    """Keys hold what clients send; all are equally long here."""
    return hashlib.sha256(key.encode()).hexdigest()
