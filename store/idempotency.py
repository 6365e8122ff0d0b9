"""Idempotency keys (IETF draft-ietf-httpapi-idempotency-key-header): a repeat finds what the first made."""

from sqlalchemy import delete, func, select, text
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from domain.errors import InvalidInput
from store.tables import IdempotencyKeyRow

KEPT = "24 hours"


class KeyReused(InvalidInput):
    """The key came before with another request."""

    code = "idempotency-key-reused"


async def claim(
    session: AsyncSession, tenant: str, username: str, *, key: str, body_digest: str, deployment: str
) -> str:
    """Tie the key to this deployment; the id of the deployment that the key belongs to, old or new.

    A concurrent request with the same key waits here until the first is committed or rolled back. Keys
    older than KEPT are dropped on the way.

    Raises:
        KeyReused: the key came before with another body.
    """
    row = IdempotencyKeyRow
    await session.execute(delete(row).where(row.created_at < func.now() - text(f"interval '{KEPT}'")))
    mine = await session.scalar(
        insert(row)
        .values(tenant=tenant, username=username, key=key, body_digest=body_digest, deployment=deployment)
        .on_conflict_do_nothing()
        .returning(row.deployment)
    )
    if mine is not None:
        return str(mine)
    known = (
        await session.execute(
            select(row.body_digest, row.deployment).where(
                row.tenant == tenant, row.username == username, row.key == key
            )
        )
    ).one()
    if known.body_digest != body_digest:
        raise KeyReused("this idempotency key came before with another body", field="Idempotency-Key")
    return str(known.deployment)
