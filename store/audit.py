"""The audit trail: what is written with the change that it is about, and asked for later.

`note` keeps an entry for the end of the transaction. There `write` appends all of them at once, last of
all, under the lock of the tenant's chain: so no lock is taken after it, and it is held shortly.
"""

from contextvars import ContextVar
from datetime import datetime
from typing import Final

from sqlalchemy import Select, bindparam, func, select
from sqlalchemy.dialects.postgresql import ARRAY, TEXT
from sqlalchemy.ext.asyncio import AsyncSession

from domain.audit import (
    FIRST,
    AuditCategory,
    AuditLink,
    AuditNote,
    AuditOutcome,
    ChainBroken,
    ChainHead,
    Origin,
    follow,
)
from domain.base import Frozen
from domain.errors import InvalidInput, NotFound
from store.records import Page
from store.tables.audit import AuditHeadRow, AuditRow

_NOWHERE: Final = Origin()
# Where what happens now came from: set around each request and each activity.
ORIGIN: ContextVar[Origin] = ContextVar("origin", default=_NOWHERE)
# What was written since a request began, for who wants to know whether anything was.
WRITTEN: ContextVar[list[str] | None] = ContextVar("written", default=None)
_PENDING: Final = "audit"
_NO_ENTRIES: Final = {"sequence": 0, "hash": FIRST, "dropped": 0, "dropped_hash": FIRST}
BATCH: Final = 1000  # entries in memory at once


class AuditFilter(Frozen):
    """Which entries; what is None does not matter. Times: from `since` on, before `until`."""

    actor: str | None = None
    action: str | None = None
    category: AuditCategory | None = None
    outcome: AuditOutcome | None = None
    subject: str | None = None
    subject_id: str | None = None
    trace: str | None = None
    since: datetime | None = None
    until: datetime | None = None


def note(session: AsyncSession, entry: AuditNote) -> None:
    """Write the entry when the transaction is committed; if it is not, neither is the entry."""
    session.info.setdefault(_PENDING, []).append(entry.content(ORIGIN.get()))


async def write(session: AsyncSession) -> None:
    """Append what was noted. `Database.transaction` does this at its end, nobody else."""
    pending = session.info.pop(_PENDING, None)
    if pending:
        await session.flush()  # locks of rows come before the chain's
        await session.execute(select(func.audit_append(bindparam("entries", pending, type_=ARRAY(TEXT)))))
        written = WRITTEN.get()
        if written is not None:
            written.extend(pending)


async def list_page(
    session: AsyncSession, tenant: str, wanted: AuditFilter, *, before: int | None = None, limit: int = 20
) -> Page[AuditLink]:
    """Entries, latest first; `before` is the number of the last one seen."""
    statement = _matching(tenant, wanted)
    if before is not None:
        statement = statement.where(AuditRow.sequence < before)
    rows = await session.scalars(statement.order_by(AuditRow.sequence.desc()).limit(limit + 1))
    found = [AuditLink.model_validate(row, from_attributes=True) for row in rows]
    return Page(items=tuple(found[:limit]), more=len(found) > limit)


async def get(session: AsyncSession, tenant: str, sequence: int) -> AuditLink:
    """One entry.

    Raises:
        NotFound: the tenant has no such entry.
    """
    row = await session.scalar(
        select(AuditRow).where(AuditRow.tenant == tenant, AuditRow.sequence == sequence)
    )
    if row is None:
        raise NotFound(f"no audit entry {sequence}")
    return AuditLink.model_validate(row, from_attributes=True)


async def batch(
    session: AsyncSession, tenant: str, wanted: AuditFilter, *, after: int = 0, limit: int = BATCH
) -> list[AuditLink]:
    """So many entries with a number above `after`, oldest first; fewer when no more follow."""
    statement = _matching(tenant, wanted).where(AuditRow.sequence > after)
    rows = (await session.scalars(statement.order_by(AuditRow.sequence).limit(limit))).all()
    found = [AuditLink.model_validate(row, from_attributes=True) for row in rows]
    session.expunge_all()
    return found


async def verify(session: AsyncSession, tenant: str, *, known: ChainHead | None = None) -> ChainHead:
    """Check the tenant's whole chain, from what was dropped by retention to its end.

    Args:
        session: of the tenant.
        tenant: whose chain.
        known: an end that it had earlier, from where nobody can have changed it: the chain must lead
            through it. Whoever owns the database can make the rest fit what he has left out or rewritten.

    Raises:
        ChainBroken: an entry is missing or was changed; the message has its number.
        InvalidInput: what is known was dropped since.
    """
    row = await session.get(AuditHeadRow, tenant) or AuditHeadRow(tenant=tenant, **_NO_ENTRIES)
    head = ChainHead(sequence=row.dropped, hash=row.dropped_hash)
    end = ChainHead(sequence=row.sequence, hash=row.hash)
    if known is not None and known.sequence < head.sequence:
        raise InvalidInput(f"entries up to {head.sequence} were dropped: give a later end", field="entries")
    if known is not None and known.sequence > end.sequence:
        raise ChainBroken(f"entry {end.sequence + 1} is missing")
    while head.sequence < end.sequence:
        links = await batch(session, tenant, AuditFilter(), after=head.sequence)
        head = follow(head, (link for link in links if link.sequence <= end.sequence), known=known)
        if len(links) < BATCH:
            break
    if head != end:
        raise ChainBroken(f"entry {head.sequence + 1} is missing")
    return head


def _matching(tenant: str, wanted: AuditFilter) -> Select[AuditRow]:
    statement = select(AuditRow).where(AuditRow.tenant == tenant)
    for name, value in wanted.model_dump(exclude={"since", "until"}, exclude_none=True).items():
        statement = statement.where(getattr(AuditRow, name) == value)
    if wanted.since is not None:
        statement = statement.where(AuditRow.at >= wanted.since)
    if wanted.until is not None:
        statement = statement.where(AuditRow.at < wanted.until)
    return statement
