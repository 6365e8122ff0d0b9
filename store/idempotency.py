"""Idempotency keys (IETF draft-ietf-httpapi-idempotency-key-header): a repeat finds what the first made."""

from typing import Any

from sqlalchemy import ColumnElement, delete, func, select, text, tuple_
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from domain.errors import InvalidInput
from store.tables import IdempotencyKeyRow

KEPT = "24 hours"


class KeyReused(InvalidInput):
    """The key came before with another request."""

    code = "idempotency-key-reused"


async def find(
    session: AsyncSession, tenant: str, username: str, *, key: str, body_digest: str
) -> str | None:
    """The id of what the key belongs to, when it came before. One that is older than KEPT counts no more.

    Raises:
        KeyReused: the key came before with another body.
    """
    row = IdempotencyKeyRow
    found = await session.execute(
        select(row.body_digest, row.deployment).where(
            row.tenant == tenant, row.username == username, row.key == key, row.created_at >= _oldest()
        )
    )
    known = found.one_or_none()
    if known is None:
        return None
    if known.body_digest != body_digest:
        raise KeyReused("this idempotency key came before with another body", field="Idempotency-Key")
    return str(known.deployment)


async def claim(
    session: AsyncSession, tenant: str, username: str, *, key: str, body_digest: str, deployment: str
) -> str:
    """Tie the key to this deployment; the id of the deployment that the key belongs to, old or new.

    A concurrent request with the same key waits here until the first is committed or rolled back. A key
    that is older than KEPT counts no more.

    Raises:
        KeyReused: the key came before with another body.
    """
    row = IdempotencyKeyRow
    same = (row.tenant == tenant, row.username == username, row.key == key)
    await session.execute(delete(row).where(*same, row.created_at < _oldest()))
    mine = await session.scalar(
        insert(row)
        .values(tenant=tenant, username=username, key=key, body_digest=body_digest, deployment=deployment)
        .on_conflict_do_nothing()
        .returning(row.deployment)
    )
    known = mine or await find(session, tenant, username, key=key, body_digest=body_digest)
    return str(known)


async def purge(session: AsyncSession, *, limit: int) -> int:
    """Drop keys that are older than KEPT, at most `limit`; how many. Needs the system's scope."""
    row = IdempotencyKeyRow
    key = (row.tenant, row.username, row.key)
    old = select(*key).where(row.created_at < _oldest()).limit(limit)
    done = await session.execute(delete(row).where(tuple_(*key).in_(old)).returning(row.key))
    return len(done.all())


def _oldest() -> ColumnElement[Any]:
    return func.now() - text(f"interval '{KEPT}'")
