"""Gates and their votes."""

from datetime import UTC, datetime

from sqlalchemy import func, select, tuple_
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from domain.approval import ApprovalInput, PollEntry, PollRecord
from domain.deployment import Phase
from domain.errors import NotFound
from store import events
from store.records import Page, StoredPoll
from store.rows import locked_deployment
from store.tables import PollRow


async def save(session: AsyncSession, record: PollRecord) -> None:
    """Write a gate as it stands, with the event that tells why, once per key.

    An older state than the stored one (a late repeat) changes nothing.

    Raises:
        NotFound: no such deployment of this tenant.
    """
    request = record.request
    over = False
    if request.deployment is not None:
        phase = Phase((await locked_deployment(session, request.tenant, request.deployment)).phase)
        over = phase.terminal or phase is Phase.ROLLING_BACK
    row = await _locked_row(session, record)
    if record.entry is not None:
        await _append(session, request, record.entry)
    if row.poll["revision"] > record.poll.revision:
        return
    row.poll = record.poll.model_dump(mode="json")
    row.expires_at = datetime.fromtimestamp(record.expires, tz=UTC)
    if record.result is not None:
        row.result = record.result
    if row.closed_at is None and (row.result is not None or over):
        row.closed_at = (await session.execute(select(func.now()))).scalar_one()


async def _locked_row(session: AsyncSession, record: PollRecord) -> PollRow:
    """The gate's row, made if it is not there; locked until the transaction ends."""
    request = record.request
    await session.execute(
        insert(PollRow)
        .values(
            tenant=request.tenant,
            id=request.gate,
            deployment=request.deployment,
            request=request.model_dump(mode="json"),
            poll=record.poll.model_dump(mode="json"),
            expires_at=datetime.fromtimestamp(record.expires, tz=UTC),
        )
        .on_conflict_do_nothing()
    )
    return await session.get_one(
        PollRow, (request.tenant, request.gate), populate_existing=True, with_for_update=True
    )


async def _append(session: AsyncSession, request: ApprovalInput, entry: PollEntry) -> None:
    """The event goes to the deployment that the gate belongs to, or to the approval itself."""
    payload = {"message": entry.message, "actor": entry.actor, **entry.details}
    if request.deployment is not None:
        await events.append(
            session, request.tenant, request.deployment, key=entry.key, kind=entry.event, payload=payload
        )
    else:
        await events.append_of_approval(
            session, request.tenant, request.gate, key=entry.key, kind=entry.event, payload=payload
        )


async def get(session: AsyncSession, tenant: str, poll: str) -> StoredPoll:
    """One gate.

    Raises:
        NotFound: no such gate of this tenant.
    """
    row = await session.get(PollRow, (tenant, poll))
    if row is None:
        raise NotFound(f"no approval {poll!r}")
    return _poll(row)


async def of_deployment(session: AsyncSession, tenant: str, deployment: str) -> list[StoredPoll]:
    """The gates of a deployment that were opened, in that order."""
    rows = await session.scalars(
        select(PollRow)
        .where(PollRow.tenant == tenant, PollRow.deployment == deployment)
        .order_by(PollRow.opened_at, PollRow.id)
    )
    return [_poll(row) for row in rows]


async def pending(
    session: AsyncSession, tenant: str, *, after: tuple[datetime, str] | None = None, limit: int = 20
) -> Page[StoredPoll]:
    """The gates that wait for people, oldest first; `after` is (opened_at, id) of the last one seen."""
    statement = select(PollRow).where(PollRow.tenant == tenant, PollRow.closed_at.is_(None))
    if after is not None:
        statement = statement.where(tuple_(PollRow.opened_at, PollRow.id) > tuple_(*after))
    rows = await session.scalars(statement.order_by(PollRow.opened_at, PollRow.id).limit(limit + 1))
    found = [_poll(row) for row in rows]
    return Page(items=tuple(found[:limit]), more=len(found) > limit)


def _poll(row: PollRow) -> StoredPoll:
    return StoredPoll.model_validate(row, from_attributes=True)
