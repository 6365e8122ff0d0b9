"""Gates and their votes."""

from datetime import UTC, datetime

from sqlalchemy import func, select, tuple_
from sqlalchemy.ext.asyncio import AsyncSession

from domain.deployment import Phase
from domain.errors import NotFound
from domain.messages import PollRecord
from store.records import Page, StoredPoll
from store.rows import locked_deployment
from store.tables import PollRow


async def save(session: AsyncSession, record: PollRecord) -> None:
    """Write a gate as it stands. An older state than the stored one (a late repeat) changes nothing.

    Raises:
        NotFound: no such deployment of this tenant.
    """
    request = record.request
    deployment = await locked_deployment(session, request.tenant, request.deployment)
    row = await session.get(PollRow, (request.tenant, request.gate), populate_existing=True)
    if row is None:
        row = PollRow(
            tenant=request.tenant,
            id=request.gate,
            deployment=request.deployment,
            request=request.model_dump(mode="json"),
        )
        session.add(row)
    elif len(row.poll["votes"]) > len(record.poll.votes) or len(row.poll["refused"]) > len(
        record.poll.refused
    ):
        return
    row.poll = record.poll.model_dump(mode="json")
    row.expires_at = datetime.fromtimestamp(record.expires, tz=UTC)
    if record.result is not None:
        row.result = record.result
    phase = Phase(deployment.phase)
    if row.closed_at is None and (row.result is not None or phase.terminal or phase is Phase.ROLLING_BACK):
        row.closed_at = (await session.execute(select(func.now()))).scalar_one()


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
