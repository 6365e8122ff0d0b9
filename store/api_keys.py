"""API keys: made once, shown once, kept as a hash; each acts for its owner within its scopes."""

import hashlib
import hmac
import secrets
from datetime import datetime

from sqlalchemy import func, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from domain.base import Frozen
from domain.errors import Conflict, NotFound
from domain.identity import KEYS_PER_PERSON
from domain.permissions import Permission
from store.tables import UserRow
from store.tables.identity import ApiKeyRow

PREFIX = "hsk."


class StoredKey(Frozen):
    """A key without its secret."""

    id: str
    username: str
    name: str
    scopes: tuple[Permission, ...]
    created_at: datetime
    expires_at: datetime
    revoked_at: datetime | None


class KeyText(Frozen):
    """A key as its holder has it."""

    tenant: str
    id: str
    secret: str

    @property
    def text(self) -> str:
        """The bearer token."""
        return f"{PREFIX}{self.tenant}.{self.id}.{self.secret}"

    @classmethod
    def parse(cls, text: str) -> "KeyText | None":
        """Read one back; None when it has not the form."""
        parts = text.removeprefix(PREFIX).split(".")
        if not text.startswith(PREFIX) or len(parts) != 3 or not all(parts):
            return None
        return cls(tenant=parts[0], id=parts[1], secret=parts[2])


async def make(
    session: AsyncSession,
    tenant: str,
    username: str,
    *,
    name: str,
    scopes: tuple[Permission, ...],
    expires_at: datetime,
) -> tuple[StoredKey, KeyText]:
    """A new key, with the text that is shown this once.

    Raises:
        Conflict: the person has a key of this name, or too many keys.
    """
    await session.execute(
        select(UserRow.username)
        .where(UserRow.tenant == tenant, UserRow.username == username)
        .with_for_update()
    )
    if len(await of_person(session, tenant, username)) >= KEYS_PER_PERSON:
        raise Conflict(f"a person has at most {KEYS_PER_PERSON} keys: revoke one first")
    made = KeyText(tenant=tenant, id=secrets.token_hex(8), secret=secrets.token_urlsafe(32))
    statement = (
        insert(ApiKeyRow)
        .values(
            tenant=tenant,
            id=made.id,
            username=username,
            name=name,
            secret_hash=_digest(made.secret),
            scopes=[scope.value for scope in scopes],
            expires_at=expires_at,
        )
        .on_conflict_do_nothing()
        .returning(ApiKeyRow)
    )
    row = await session.scalar(statement)
    if row is None:
        raise Conflict(f"you have a key {name!r} already", field="name")
    return _stored(row), made


async def find(session: AsyncSession, given: KeyText) -> StoredKey | None:
    """The key of this text when it counts: known, not revoked, not expired."""
    row = await session.scalar(
        select(ApiKeyRow).where(
            ApiKeyRow.tenant == given.tenant,
            ApiKeyRow.id == given.id,
            ApiKeyRow.revoked_at.is_(None),
            ApiKeyRow.expires_at > func.now(),
        )
    )
    if row is None or not hmac.compare_digest(row.secret_hash, _digest(given.secret)):
        return None
    return _stored(row)


async def of_person(session: AsyncSession, tenant: str, username: str) -> list[StoredKey]:
    """The keys of a person that were not revoked, by name."""
    rows = await session.scalars(
        select(ApiKeyRow)
        .where(ApiKeyRow.tenant == tenant, ApiKeyRow.username == username, ApiKeyRow.revoked_at.is_(None))
        .order_by(ApiKeyRow.name)
    )
    return [_stored(row) for row in rows]


async def revoke(session: AsyncSession, tenant: str, username: str, key: str) -> None:
    """End a key.

    Raises:
        NotFound: the person has no such key.
    """
    statement = (
        update(ApiKeyRow)
        .where(
            ApiKeyRow.tenant == tenant,
            ApiKeyRow.username == username,
            ApiKeyRow.id == key,
            ApiKeyRow.revoked_at.is_(None),
        )
        # The name may be given again.
        .values(revoked_at=func.now(), name=ApiKeyRow.name + "#" + ApiKeyRow.id)
        .returning(ApiKeyRow.id)
    )
    if await session.scalar(statement) is None:
        raise NotFound(f"no key {key!r}")


def _stored(row: ApiKeyRow) -> StoredKey:
    return StoredKey.model_validate(row, from_attributes=True)


def _digest(secret: str) -> str:
    # 256 random bits need no slow hash.
    return hashlib.sha256(secret.encode()).hexdigest()
