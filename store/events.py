"""The events that deployments leave behind."""

from collections.abc import Mapping
from typing import Any

from sqlalchemy import select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from domain.audit import note_of_event
from domain.events import EventKind
from store import audit
from store.records import StoredEvent
from store.tables import EventRow


async def append(
    session: AsyncSession,
    tenant: str,
    deployment: str,
    *,
    key: str,
    kind: EventKind,
    payload: Mapping[str, Any],
) -> bool:
    """Write an event once per key, and its entry in the audit trail; False when the key is there already.

    The caller holds the deployment's row lock, so that ids grow in the order of commits and a reader who
    goes on from the last id it saw misses nothing.
    """
    statement = (
        insert(EventRow)
        .values(tenant=tenant, deployment=deployment, key=key, kind=kind, payload=dict(payload))
        .on_conflict_do_nothing(index_elements=["tenant", "deployment", "key"])
        .returning(EventRow.id)
    )
    fresh = (await session.execute(statement)).first() is not None
    entry = note_of_event(kind, "deployment", deployment, dict(payload))
    if fresh and entry is not None:
        audit.note(session, entry)
    return fresh


async def after(
    session: AsyncSession, tenant: str, deployment: str, cursor: int, *, limit: int = 500
) -> list[StoredEvent]:
    """The events of a deployment with an id above the cursor, oldest first."""
    rows = await session.scalars(
        select(EventRow)
        .where(EventRow.tenant == tenant, EventRow.deployment == deployment, EventRow.id > cursor)
        .order_by(EventRow.id)
        .limit(limit)
    )
    return [
        StoredEvent(id=row.id, deployment=row.deployment, kind=row.kind, at=row.at, payload=row.payload)
        for row in rows
    ]
