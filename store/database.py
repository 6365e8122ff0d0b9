"""The way to PostgreSQL: one engine with a pool, and transactions, each for one tenant.

Row-level security does the rest: whatever a transaction asks for, it gets the rows of its tenant only.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from sqlalchemy import text
from sqlalchemy.exc import OperationalError
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker, create_async_engine
from tenacity import AsyncRetrying, retry_if_exception_type, stop_after_delay, wait_fixed

from domain.errors import InvalidInput
from store import audit
from store.roles import SYSTEM, TENANT_SETTING

POOL_WAIT = 10.0
START_PATIENCE = 60.0
# "true": until the transaction ends, however it ends. A pooled connection carries nothing to the next.
_ENTER = text(f"SELECT set_config('{TENANT_SETTING}', :tenant, true)")
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

    Args:
        url: an SQLAlchemy URL, `postgresql+psycopg://…` (psycopg 3).
        pool_size: how many connections are kept; as many again may be opened under load.
        pool_wait: seconds to wait for a free connection before an error says so.
    """

    def __init__(self, url: str, *, pool_size: int = 10, pool_wait: float = POOL_WAIT) -> None:
        self.url = url
        self._engine = create_async_engine(
            url, pool_size=pool_size, max_overflow=pool_size, pool_timeout=pool_wait, pool_pre_ping=True
        )
        self._sessions = async_sessionmaker(self._engine, expire_on_commit=False)

    @asynccontextmanager
    async def transaction(self, tenant: str) -> AsyncIterator[AsyncSession]:
        """A tenant's transaction: committed when the block ends, rolled back when it raises.

        Rows of other tenants are not there for it, and cannot be written. What was noted for the audit
        trail is written last, with all the rest or not at all.
        """
        async with self._sessions() as session, session.begin():
            await session.execute(_ENTER, {"tenant": tenant})
            yield session
            await audit.write(session)

    @asynccontextmanager
    async def system(self) -> AsyncIterator[AsyncSession]:
        """A transaction across tenants, as the role that sees what store.roles lists and no more."""
        async with self._sessions() as session, session.begin(), as_system(session):
            yield session

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


@asynccontextmanager
async def as_system(session: AsyncSession) -> AsyncIterator[None]:
    """Part of a tenant's transaction that looks across tenants; see `Database.system`."""
    await session.execute(text(f"SET LOCAL ROLE {SYSTEM}"))
    yield
    await session.execute(text("SET LOCAL ROLE NONE"))
