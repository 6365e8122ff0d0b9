"""The way to PostgreSQL: one engine with a pool, and transactions, each for one tenant.

Row-level security does the rest: whatever a transaction asks for, it gets the rows of its tenant only.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import lru_cache
from typing import Final

import psycopg
from psycopg.sql import SQL, Literal
from sqlalchemy import text
from sqlalchemy.exc import DataError, DBAPIError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker, create_async_engine
from tenacity import AsyncRetrying, retry_if_exception_type, stop_after_delay, wait_fixed

from domain.errors import InvalidInput
from store import audit
from store.roles import SYSTEM, TENANT_SETTING

POOL_WAIT = 10.0
START_PATIENCE = 60.0
# "true": until the transaction ends, however it ends. A pooled connection carries nothing to the next.
_ENTER: Final = SQL("BEGIN; SELECT set_config({setting}, {tenant}, true)")
_ENTER_AS_SYSTEM: Final = f"BEGIN; SET LOCAL ROLE {SYSTEM}"
# Two statements in one message, which the protocol has for statements without parameters only.
_PLAIN: Final = {"no_parameters": True}
_UNBOUND = text(
    """
    SELECT bool_or(r.rolsuper OR r.rolbypassrls) OR EXISTS (
        SELECT 1 FROM pg_class c JOIN pg_roles o ON o.oid = c.relowner
        WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'p')
        AND pg_has_role(current_user, o.oid, 'MEMBER')
    )
    FROM pg_roles r WHERE r.rolname = current_user
    """
)


class Database:
    """One per process.

    Connections are given out in the order in which they were asked for: under load nobody waits for long
    while others who came later are served.

    Args:
        url: an SQLAlchemy URL, `postgresql+psycopg://…` (psycopg 3).
        pool_size: how many connections there are at most; one that was opened is kept.
        pool_wait: seconds to wait for a free connection before an error says so.
    """

    def __init__(self, url: str, *, pool_size: int = 10, pool_wait: float = POOL_WAIT) -> None:
        self.url = url
        # Transactions begin here, by a statement that says whose they are: left to itself the driver would
        # begin each with a statement, and a round trip, of its own.
        self._engine = create_async_engine(
            url,
            pool_size=pool_size,
            max_overflow=0,
            pool_timeout=pool_wait,
            pool_use_lifo=True,
            isolation_level="AUTOCOMMIT",
        )
        self._sessions = async_sessionmaker(self._engine, expire_on_commit=False)
        self._turns = asyncio.Semaphore(pool_size)
        self._wait = pool_wait

    @asynccontextmanager
    async def transaction(self, tenant: str) -> AsyncIterator[AsyncSession]:
        """A tenant's transaction: committed when the block ends, rolled back when it raises.

        Rows of other tenants are not there for it, and cannot be written. What was noted for the audit
        trail is written last, with all the rest or not at all.
        """
        async with self._begun(_entering(tenant)) as session:
            yield session
            await audit.write(session)

    @asynccontextmanager
    async def system(self) -> AsyncIterator[AsyncSession]:
        """A transaction across tenants, as the role that sees what store.roles lists and no more."""
        async with self._begun(_ENTER_AS_SYSTEM) as session:
            yield session

    @asynccontextmanager
    async def _begun(self, statement: str) -> AsyncIterator[AsyncSession]:
        await self._take_turn()
        try:
            async with await self._entered(statement) as session:
                yield session
                await session.commit()
        finally:
            self._turns.release()

    async def _take_turn(self) -> None:
        try:
            async with asyncio.timeout(self._wait):
                await self._turns.acquire()
        except TimeoutError as error:
            raise PoolTimeout(f"no connection to the database was free for {self._wait} s") from error

    async def _entered(self, statement: str) -> AsyncSession:
        """A session in whose transaction the statement was run.

        A connection that has died since its last use is found out by it, and replaced once: the pool then
        knows that all that were opened before are dead too.
        """
        for last in (False, True):
            session = self._sessions()
            try:
                connection = await session.connection()
                await connection.exec_driver_sql(statement, execution_options=_PLAIN)
            except BaseException as error:
                await session.close()
                died = isinstance(error, DBAPIError) and error.connection_invalidated
                if last or not died:
                    raise
            else:
                break
        return session

    async def require_bound_role(self) -> None:
        """See that the role is one that row-level security binds: neither superuser, nor exempt, nor owner.

        Waits up to START_PATIENCE seconds for a database that is not there yet.

        Raises:
            InvalidInput: it is not; `field` names the setting.
            OperationalError: the database does not answer.
        """
        patiently = AsyncRetrying(
            stop=stop_after_delay(START_PATIENCE),
            wait=wait_fixed(1),
            retry=retry_if_exception_type(OperationalError),
            reraise=True,
        )
        unbound: bool = await patiently(self._unbound)
        if unbound:
            words = "the database's role can bypass row-level security: use the application's role"
            raise InvalidInput(words, field="database_url")

    async def _unbound(self) -> bool:
        async with self._sessions() as session:
            return bool(await session.scalar(_UNBOUND))

    async def dispose(self) -> None:
        """Close all connections."""
        await self._engine.dispose()


@lru_cache(maxsize=1024)
def _entering(tenant: str) -> str:
    try:
        return _ENTER.format(setting=Literal(TENANT_SETTING), tenant=Literal(tenant)).as_string()
    except psycopg.DataError as error:  # as it is for a parameter that cannot be written
        raise DataError(_ENTER.as_string(), None, error) from error


@asynccontextmanager
async def as_system(session: AsyncSession) -> AsyncIterator[None]:
    """Part of a tenant's transaction that looks across tenants; see `Database.system`."""
    await session.execute(text(f"SET LOCAL ROLE {SYSTEM}"))
    yield
    await session.execute(text("SET LOCAL ROLE NONE"))
