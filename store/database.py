"""The way to PostgreSQL: one engine with a pool, and transactions."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker, create_async_engine

POOL_WAIT = 10.0  # seconds to wait for a free connection before an error says so


class Database:
    """One per process.

    Args:
        url: an SQLAlchemy URL, `postgresql+psycopg://…` (psycopg 3).
        pool_size: how many connections are kept; as many again may be opened under load.
    """

    def __init__(self, url: str, *, pool_size: int = 10) -> None:
        self._engine = create_async_engine(
            url, pool_size=pool_size, max_overflow=pool_size, pool_timeout=POOL_WAIT, pool_pre_ping=True
        )
        self._sessions = async_sessionmaker(self._engine, expire_on_commit=False)

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[AsyncSession]:
        """A transaction: committed when the block ends, rolled back when it raises."""
        async with self._sessions() as session, session.begin():
            yield session

    async def dispose(self) -> None:
        """Close all connections."""
        await self._engine.dispose()
