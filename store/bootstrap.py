"""The one-time bootstrap: a tenant, its four environments and its first admin."""

from pwdlib import PasswordHash
from pydantic import TypeAdapter, ValidationError
from sqlalchemy import func, select, text
from sqlalchemy.dialects.postgresql import insert

from domain.errors import Conflict, InvalidInput
from domain.identity import SHORTEST_PASSWORD
from domain.names import TenantId, Username
from domain.roles import Role
from store import tenants, users
from store.database import Database, as_system
from store.tables import TenantRow, UserRow

_LOCK = 7_146_291_031  # any constant of ours: two bootstraps at once, one refused


async def bootstrap(
    database: Database, *, tenant: str, username: str, password: str, must_change: bool = False
) -> None:
    """Make the tenant, its environments with their default policies, and the admin.

    Raises:
        Conflict: there are users already; nothing was written.
        InvalidInput: a name or the password breaks a rule.
    """
    _check("tenant", TypeAdapter(TenantId), tenant)
    _check("username", TypeAdapter(Username), username)
    if len(password) < SHORTEST_PASSWORD:
        raise InvalidInput(f"a password has at least {SHORTEST_PASSWORD} characters", field="password")
    password_hash = PasswordHash.recommended().hash(password)
    async with database.transaction(tenant) as session:
        await session.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _LOCK})
        async with as_system(session):
            users_of_all = await session.scalar(select(func.count()).select_from(UserRow))
        if users_of_all:
            raise Conflict("there are users already: the bootstrap runs once")
        await session.execute(insert(TenantRow).values(id=tenant).on_conflict_do_nothing())
        await tenants.make_environments(session, tenant)
        await users.insert(
            session,
            tenant,
            username=username,
            password_hash=password_hash,
            role=Role.ADMIN,
            must_change=must_change,
        )


def _check(field: str, rule: TypeAdapter[str], value: str) -> None:
    try:
        rule.validate_python(value)
    except ValidationError as error:
        raise InvalidInput(f"{value!r} is not allowed here", field=field) from error
