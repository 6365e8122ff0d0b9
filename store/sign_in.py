"""Guesses at passwords, counted before they are checked, so that guessing in parallel gains nothing."""

from sqlalchemy import case, func, or_, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from domain.base import Frozen
from domain.errors import NotFound
from domain.identity import FAILURES_ALLOWED, LOCK_OUT
from domain.roles import Role
from store.records import StoredUser
from store.tables import UserRow


class Guess(Frozen):
    """One attempt at a name: the person when the guess may be checked, and whether the name is locked."""

    user: StoredUser | None
    locked: bool


async def begin(session: AsyncSession, tenant: str, username: str) -> Guess:
    """Count a guess as if it were wrong, and say whether it may be checked.

    One UPDATE does both, so of any number of parallel guesses at most FAILURES_ALLOWED are checked before the
    name is locked for LOCK_OUT. `succeeded` takes the count back.
    """
    over = or_(UserRow.locked_until <= func.now(), UserRow.locked_until.is_(None))
    counted = case((UserRow.locked_until <= func.now(), 0), else_=UserRow.failures) + 1
    statement = (
        update(UserRow)
        .where(UserRow.tenant == tenant, UserRow.username == username, over, UserRow.disabled.is_(False))
        .values(
            failures=counted,
            locked_until=case((counted >= FAILURES_ALLOWED, func.now() + LOCK_OUT), else_=None),
        )
        .returning(UserRow)
    )
    row = await session.scalar(statement)
    if row is not None:
        return Guess(user=StoredUser.model_validate(row, from_attributes=True), locked=False)
    known = await session.scalar(
        select(UserRow.username).where(UserRow.tenant == tenant, UserRow.username == username)
    )
    return Guess(user=None, locked=known is not None)


async def succeeded(session: AsyncSession, tenant: str, username: str, *, password_hash: str) -> bool:
    """The guess was right: forget the wrong ones before it.

    False when the password is not the one any more that was checked, or the person was disabled since.
    """
    same = await session.scalar(
        update(UserRow)
        .where(
            UserRow.tenant == tenant,
            UserRow.username == username,
            UserRow.password_hash == password_hash,
            UserRow.disabled.is_(False),
        )
        .values(failures=0, locked_until=None)
        .returning(UserRow.username)
    )
    return same is not None


async def set_password(
    session: AsyncSession, tenant: str, username: str, password_hash: str, *, must_change: bool
) -> None:
    """Replace the password; `must_change` when somebody else has chosen it.

    Raises:
        NotFound: there is no such person.
    """
    values = {"password_hash": password_hash, "must_change": must_change, "failures": 0, "locked_until": None}
    await _change(session, tenant, username, values)


async def set_standing(
    session: AsyncSession, tenant: str, username: str, *, role: Role | None, disabled: bool | None
) -> StoredUser:
    """Change what a person may do; None leaves it as it is.

    Raises:
        NotFound: there is no such person.
    """
    asked = {"role": role.value if role else None, "disabled": disabled}
    values: dict[str, object] = {name: value for name, value in asked.items() if value is not None}
    return await _change(session, tenant, username, values or {"username": username})


async def unlock(session: AsyncSession, tenant: str, username: str) -> StoredUser:
    """End a lock-out before its time.

    Raises:
        NotFound: there is no such person.
    """
    return await _change(session, tenant, username, {"failures": 0, "locked_until": None})


async def _change(session: AsyncSession, tenant: str, username: str, values: dict[str, object]) -> StoredUser:
    statement = (
        update(UserRow)
        .where(UserRow.tenant == tenant, UserRow.username == username)
        .values(**values)
        .returning(UserRow)
    )
    row = await session.scalar(statement)
    if row is None:
        raise NotFound(f"no user {username!r}")
    return StoredUser.model_validate(row, from_attributes=True)
