"""People who may sign in. Hashing passwords is the caller's: it takes long and belongs in a thread."""

from sqlalchemy import select
from sqlalchemy.dialects.postgresql import insert as upsert
from sqlalchemy.ext.asyncio import AsyncSession

from domain.errors import Conflict
from domain.roles import Role
from store.records import Page, StoredUser
from store.tables import UserRow


async def find(session: AsyncSession, tenant: str, username: str) -> StoredUser | None:
    """The user of this name, if there is one."""
    row = await session.get(UserRow, (tenant, username))
    return StoredUser.model_validate(row, from_attributes=True) if row is not None else None


async def insert(
    session: AsyncSession,
    tenant: str,
    *,
    username: str,
    password_hash: str,
    role: Role,
    must_change: bool = False,
) -> StoredUser:
    """Add a user; `must_change` when somebody else has chosen the password.

    Raises:
        Conflict: the name is taken.
    """
    statement = (
        upsert(UserRow)
        .values(
            tenant=tenant,
            username=username,
            password_hash=password_hash,
            role=role,
            must_change=must_change,
        )
        .on_conflict_do_nothing()
        .returning(UserRow)
    )
    row = await session.scalar(statement)
    if row is None:
        raise Conflict(f"user {username!r} exists", field="username")
    return StoredUser.model_validate(row, from_attributes=True)


async def list_page(
    session: AsyncSession, tenant: str, *, after: str | None = None, limit: int = 20
) -> Page[StoredUser]:
    """Users by name; `after` is the last name seen."""
    statement = select(UserRow).where(UserRow.tenant == tenant)
    if after is not None:
        statement = statement.where(UserRow.username > after)
    rows = (await session.scalars(statement.order_by(UserRow.username).limit(limit + 1))).all()
    found = [StoredUser.model_validate(row, from_attributes=True) for row in rows[:limit]]
    return Page(items=tuple(found), more=len(rows) > limit)
