"""The events that deployments and promotions leave behind, and approvals that belong to no deployment."""

from collections.abc import Mapping
from typing import Any

from sqlalchemy import CTE, Select, select
from sqlalchemy.dialects.postgresql import Insert, insert
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
    """Write an event of a deployment once per key, with its audit entry; False when the key is there already.

    The caller holds the deployment's row lock, so that ids grow in the order of commits and a reader who
    goes on from the last id it saw misses nothing.
    """
    values = {"tenant": tenant, "deployment": deployment, "key": key, "kind": kind, "payload": dict(payload)}
    return await _append(session, "deployment", values)


async def append_of_approval(
    session: AsyncSession,
    tenant: str,
    approval: str,
    *,
    key: str,
    kind: EventKind,
    payload: Mapping[str, Any],
) -> bool:
    """The same for an approval that belongs to no deployment; the caller holds its row lock."""
    values = {"tenant": tenant, "approval": approval, "key": key, "kind": kind, "payload": dict(payload)}
    return await _append(session, "approval", values)


async def append_to_promotion(
    session: AsyncSession,
    tenant: str,
    promotion: str,
    *,
    key: str,
    kind: EventKind,
    payload: Mapping[str, Any],
) -> bool:
    """The same for a promotion; the caller holds its row lock."""
    values = {"tenant": tenant, "promotion": promotion, "key": key, "kind": kind, "payload": dict(payload)}
    return await _append(session, "promotion", values)


def beginning(
    session: AsyncSession,
    tenant: str,
    deployment: str,
    *,
    key: str,
    kind: EventKind,
    payload: Mapping[str, Any],
) -> CTE:
    """The first event of a deployment, with its audit entry: a part of the statement that inserts its row."""
    values = {"tenant": tenant, "deployment": deployment, "key": key, "kind": kind, "payload": dict(payload)}
    _note(session, "deployment", values)
    return _insertion(values).returning(EventRow.id).cte("beginning")


async def _append(session: AsyncSession, home: str, values: Mapping[str, Any]) -> bool:
    statement = (
        _insertion(values)
        .on_conflict_do_nothing(index_elements=["tenant", home, "key"])
        .returning(EventRow.id)
    )
    fresh = (await session.execute(statement)).first() is not None
    if fresh:
        _note(session, home, values)
    return fresh


def _insertion(values: Mapping[str, Any]) -> Insert:
    return insert(EventRow).values({**values, "payload": _traced(values["payload"])})


def _note(session: AsyncSession, home: str, values: Mapping[str, Any]) -> None:
    entry = note_of_event(values["kind"], home, values[home], values["payload"])
    if entry is not None:
        audit.note(session, entry)


def _traced(payload: Mapping[str, Any]) -> dict[str, Any]:
    """The payload with the id of the trace that the event belongs to, where there is one."""
    trace = audit.ORIGIN.get().trace
    return {**payload, "trace_id": trace} if trace else dict(payload)


async def after(
    session: AsyncSession, tenant: str, deployment: str, cursor: int, *, limit: int = 500
) -> list[StoredEvent]:
    """The events of a deployment with an id above the cursor, oldest first."""
    newer = _newer(tenant, cursor, limit).where(EventRow.deployment == deployment)
    return await _read(session, newer)


async def after_of_approval(
    session: AsyncSession, tenant: str, approval: str, cursor: int, *, limit: int = 500
) -> list[StoredEvent]:
    """The events of an approval that belongs to no deployment, with an id above the cursor, oldest first."""
    newer = _newer(tenant, cursor, limit).where(EventRow.approval == approval)
    return await _read(session, newer)


async def of_promotion_after(
    session: AsyncSession, tenant: str, promotion: str, cursor: int, *, limit: int = 500
) -> list[StoredEvent]:
    """The events of a promotion with an id above the cursor, oldest first."""
    newer = _newer(tenant, cursor, limit).where(EventRow.promotion == promotion)
    return await _read(session, newer)


def _newer(tenant: str, cursor: int, limit: int) -> Select[EventRow]:
    found = select(EventRow).where(EventRow.tenant == tenant, EventRow.id > cursor)
    return found.order_by(EventRow.id).limit(limit)


async def _read(session: AsyncSession, statement: Select[EventRow]) -> list[StoredEvent]:
    rows = await session.scalars(statement)
    return [StoredEvent.model_validate(row, from_attributes=True) for row in rows]
