"""Sign-ins: opened, refreshed with a new token each time, revoked; and how their people stand."""

import hashlib
import secrets
from datetime import datetime

from sqlalchemy import delete, func, select, tuple_, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from domain.base import Frozen
from domain.identity import SESSION_LIFE, TokenReused, TokenRevoked
from domain.roles import Role
from store.tables import UserRow
from store.tables.identity import SessionRow


class Standing(Frozen):
    """Whether a person's token still counts, and for what."""

    role: Role
    disabled: bool
    must_change: bool
    session_over: bool


class RefreshToken(Frozen):
    """What a client shows to go on after its access token has expired."""

    tenant: str
    session: str
    secret: str

    @property
    def text(self) -> str:
        """As the client keeps it."""
        return f"hsr.{self.tenant}.{self.session}.{self.secret}"

    @classmethod
    def parse(cls, text: str) -> "RefreshToken":
        """Read one back.

        Raises:
            TokenRevoked: it is none of ours.
        """
        parts = text.split(".")
        if len(parts) != 4 or parts[0] != "hsr" or not all(parts):
            raise TokenRevoked("not a refresh token")
        return cls(tenant=parts[1], session=parts[2], secret=parts[3])


async def open_session(session: AsyncSession, tenant: str, username: str) -> RefreshToken:
    """A new sign-in with its first refresh token."""
    made = RefreshToken(tenant=tenant, session=secrets.token_hex(16), secret=secrets.token_urlsafe(32))
    await session.execute(
        insert(SessionRow).values(
            tenant=tenant,
            id=made.session,
            username=username,
            refresh_hash=_digest(made.secret),
            expires_at=func.now() + SESSION_LIFE,
        )
    )
    return made


async def refresh(session: AsyncSession, given: RefreshToken) -> tuple[str, RefreshToken]:
    """Trade a refresh token for the next one; the person's name and the new token.

    Raises:
        TokenReused: it was traded before; `end` the session in a transaction of its own.
        TokenRevoked: it never was good, or its session is over.
    """
    following = RefreshToken(tenant=given.tenant, session=given.session, secret=secrets.token_urlsafe(32))
    shown = _digest(given.secret)
    statement = (
        update(SessionRow)
        .where(
            SessionRow.tenant == given.tenant,
            SessionRow.id == given.session,
            SessionRow.refresh_hash == shown,
            SessionRow.revoked_at.is_(None),
            SessionRow.expires_at > func.now(),
        )
        .values(refresh_hash=_digest(following.secret), previous_hash=shown)
        .returning(SessionRow.username)
    )
    username = await session.scalar(statement)
    if username is not None:
        return username, following
    known = await session.get(SessionRow, (given.tenant, given.session))
    if known is not None and known.previous_hash == shown:
        raise TokenReused("the refresh token was used before: its session is over, sign in again")
    raise TokenRevoked("the refresh token does not count: sign in again")


async def revoke(session: AsyncSession, tenant: str, username: str) -> None:
    """End all sessions of a person."""
    await session.execute(
        update(SessionRow)
        .where(SessionRow.tenant == tenant, SessionRow.username == username, SessionRow.revoked_at.is_(None))
        .values(revoked_at=func.now())
    )


async def end(session: AsyncSession, tenant: str, session_id: str) -> str | None:
    """End one session; whose it was, None when it was over before."""
    return await session.scalar(
        update(SessionRow)
        .where(SessionRow.tenant == tenant, SessionRow.id == session_id, SessionRow.revoked_at.is_(None))
        .values(revoked_at=func.now())
        .returning(SessionRow.username)
    )


async def standing(
    session: AsyncSession, tenant: str, username: str, session_id: str | None
) -> Standing | None:
    """How a person stands now; None for a name that nobody has."""
    row = await session.get(UserRow, (tenant, username))
    if row is None:
        return None
    over = False
    if session_id is not None:
        found = await session.get(SessionRow, (tenant, session_id))
        over = found is None or found.revoked_at is not None or found.username != username
    return Standing(
        role=Role(row.role), disabled=row.disabled, must_change=row.must_change, session_over=over
    )


async def purge(session: AsyncSession, *, before: datetime, limit: int) -> int:
    """Forget sessions that ended before a moment, at most `limit` of them; how many."""
    old = select(SessionRow.tenant, SessionRow.id).where(SessionRow.expires_at < before).limit(limit)
    done = await session.execute(
        delete(SessionRow).where(tuple_(SessionRow.tenant, SessionRow.id).in_(old)).returning(SessionRow.id)
    )
    return len(done.all())


def _digest(secret: str) -> str:
    # 256 random bits need no slow hash.
    return hashlib.sha256(secret.encode()).hexdigest()
