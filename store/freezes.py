"""Freezes: the calendar of an environment and what people froze, and whether something may start now."""

import secrets
from collections.abc import Sequence
from datetime import UTC, datetime

from sqlalchemy import func, select, text
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from domain import calendar
from domain.audit import AuditCategory, AuditNote
from domain.calendar import MOST_WINDOWS, CalendarWindow
from domain.deployment import TERMINAL_PHASES, Phase
from domain.errors import Conflict, NotFound
from domain.events import EventKind
from domain.freeze import Freeze, longest
from domain.freeze_orders import AdHocFreeze, Thaw
from domain.strategy import UNDO
from store import audit, events
from store.records import StoredFreeze
from store.rows import environment_row, locked_deployment
from store.tables import DeploymentRow, FreezeRow

# The environment's own row is locked after deployments' everywhere, and this comes before them.
_ONE_AT_A_TIME = text("SELECT pg_advisory_xact_lock(hashtextextended(:calendar, 0))")


async def of_environment(
    session: AsyncSession, tenant: str, environment: str, *, removed: bool = False
) -> list[StoredFreeze]:
    """The freezes of an environment, oldest first; those that were removed only when asked for."""
    statement = select(FreezeRow).where(FreezeRow.tenant == tenant, FreezeRow.environment == environment)
    if not removed:
        statement = statement.where(FreezeRow.removed_at.is_(None))
    rows = await session.scalars(statement.order_by(FreezeRow.created_at, FreezeRow.id))
    return [of_row(row) for row in rows]


async def by_environment(session: AsyncSession, tenant: str) -> dict[str, list[StoredFreeze]]:
    """The freezes that were not removed, by environment; one without any is not there."""
    rows = await session.scalars(
        select(FreezeRow)
        .where(FreezeRow.tenant == tenant, FreezeRow.removed_at.is_(None))
        .order_by(FreezeRow.created_at, FreezeRow.id)
    )
    found: dict[str, list[StoredFreeze]] = {}
    for row in rows:
        found.setdefault(row.environment, []).append(of_row(row))
    return found


async def at(session: AsyncSession, tenant: str, environment: str, moment: float) -> Freeze | None:
    """Whether the environment is frozen at a moment, seconds since the epoch."""
    return state(await of_environment(session, tenant, environment), moment)


async def holding(
    session: AsyncSession, tenant: str, environment: str, deployment: str, moment: float
) -> Freeze | None:
    """The freeze that holds a deployment at a moment. A hotfix or an undo is held by none."""
    row = await session.get(DeploymentRow, (tenant, deployment))
    undo = row is not None and row.strategy is not None and row.strategy["kind"] == UNDO
    if row is not None and (undo or row.hotfix is not None):
        return None
    return await at(session, tenant, environment, moment)


def state(freezes: Sequence[StoredFreeze], moment: float) -> Freeze | None:
    """Whether one of these freezes holds at a moment, and until when all of them are over."""
    held = tuple(
        Freeze(reason=each.reason, until=each.until.timestamp() if each.until else None)
        for each in freezes
        if each.calendar is None and (each.until is None or each.until.timestamp() > moment)
    )
    windows = windows_of(freezes)
    by_calendar = calendar.state(windows, datetime.fromtimestamp(moment, tz=UTC))
    found = longest((*held, *((by_calendar,) if by_calendar else ())))
    if found is None or found.until is None:
        return found
    # A window may begin before the ad-hoc freeze ends, and last longer.
    after = calendar.state(windows, datetime.fromtimestamp(found.until, tz=UTC))
    return longest((found, after)) if after else found


def windows_of(freezes: Sequence[StoredFreeze]) -> list[CalendarWindow]:
    """The calendar among these freezes."""
    return [each.calendar for each in freezes if each.calendar is not None]


async def add_window(
    session: AsyncSession, tenant: str, environment: str, window: CalendarWindow, actor: str
) -> StoredFreeze:
    """Put a window into the calendar.

    Raises:
        NotFound: no such environment of this tenant.
        Conflict: a window of this name is there, or there are too many.
        InvalidInput: with it the environment would never open.
    """
    await environment_row(session, tenant, environment)
    await session.execute(_ONE_AT_A_TIME, {"calendar": f"calendar {tenant} {environment}"})
    present = windows_of(await of_environment(session, tenant, environment))
    if any(each.name == window.name for each in present):
        raise Conflict(f"{environment} has a freeze named {window.name!r} already", field="name")
    if len(present) >= MOST_WINDOWS:
        raise Conflict(f"{environment} has {MOST_WINDOWS} freezes in its calendar, which is the limit")
    now: datetime = (await session.execute(select(func.now()))).scalar_one()
    calendar.must_open([*present, window], now)
    row = FreezeRow(
        tenant=tenant,
        id=secrets.token_hex(8),
        environment=environment,
        reason=window.reason,
        calendar=window.model_dump(mode="json"),
        created_by=actor,
    )
    session.add(row)
    await session.flush()
    await session.refresh(row)
    await _tell(
        session, row, EventKind.FREEZE_ADDED, f"freeze {window.name} added", actor=actor, reason=window.reason
    )
    return of_row(row)


async def freeze(session: AsyncSession, order: AdHocFreeze) -> StoredFreeze:
    """Freeze now. A repeat of the same order (its `key`) changes nothing.

    Raises:
        NotFound: no such environment of this tenant.
    """
    await environment_row(session, order.tenant, order.environment)
    until = datetime.fromtimestamp(order.until, tz=UTC) if order.until is not None else None
    statement = (
        insert(FreezeRow)
        .values(
            tenant=order.tenant,
            id=order.key,
            environment=order.environment,
            reason=order.reason,
            until=until,
            created_by=order.actor,
        )
        .on_conflict_do_nothing()
        .returning(FreezeRow.id)
    )
    fresh = (await session.execute(statement)).first() is not None
    row = await session.get_one(FreezeRow, (order.tenant, order.key))
    if fresh:
        end = Freeze(reason=order.reason, until=order.until).end
        await _tell(
            session, row, EventKind.FREEZE_ADDED, f"frozen {end}", actor=order.actor, reason=order.reason
        )
    return of_row(row)


async def thaw(session: AsyncSession, order: Thaw) -> int:
    """End what people froze; the calendar stays. How many freezes that were.

    Raises:
        NotFound: no such environment of this tenant.
    """
    await environment_row(session, order.tenant, order.environment)
    rows = list(
        await session.scalars(
            select(FreezeRow)
            .where(
                FreezeRow.tenant == order.tenant,
                FreezeRow.environment == order.environment,
                FreezeRow.calendar.is_(None),
                FreezeRow.removed_at.is_(None),
                (FreezeRow.until.is_(None)) | (FreezeRow.until > func.now()),
            )
            .order_by(FreezeRow.id)
            .with_for_update()
        )
    )
    for row in rows:
        await _remove(session, row, order.actor, order.reason)
        await _tell(session, row, EventKind.FREEZE_REMOVED, "thawed", actor=order.actor, reason=order.reason)
    return len(rows)


async def remove(
    session: AsyncSession, tenant: str, environment: str, wanted: str, *, actor: str, reason: str
) -> StoredFreeze:
    """Take a freeze out, by its id or by its window's name.

    Raises:
        NotFound: no such environment, or no such freeze in it.
    """
    await environment_row(session, tenant, environment)
    row = await session.scalar(
        select(FreezeRow)
        .where(
            FreezeRow.tenant == tenant,
            FreezeRow.environment == environment,
            FreezeRow.removed_at.is_(None),
            (FreezeRow.id == wanted) | (FreezeRow.calendar["name"].astext == wanted),
        )
        .with_for_update()
    )
    if row is None:
        raise NotFound(f"{environment} has no freeze {wanted!r}")
    await _remove(session, row, actor, reason)
    name = row.calendar["name"] if row.calendar else row.id
    await _tell(session, row, EventKind.FREEZE_REMOVED, f"freeze {name} removed", actor=actor, reason=reason)
    return of_row(row)


async def held(session: AsyncSession, tenant: str, environment: str) -> list[str]:
    """The deployments that a freeze holds."""
    rows = await session.scalars(
        select(DeploymentRow.id).where(
            DeploymentRow.tenant == tenant,
            DeploymentRow.environment == environment,
            DeploymentRow.phase == Phase.FROZEN,
        )
    )
    return list(rows)


async def missed_the_thaw(session: AsyncSession, tenant: str, environment: str) -> bool:
    """Whether something waits in a lane where nothing runs, since before a freeze was lifted.

    Not where a rollback keeps the lane waiting that nobody has resolved.
    """
    if (await environment_row(session, tenant, environment)).frozen is not None:
        return False
    open_ = select(DeploymentRow.id).where(
        DeploymentRow.tenant == tenant, DeploymentRow.environment == environment
    )
    lifted = select(FreezeRow.id).where(
        FreezeRow.tenant == tenant,
        FreezeRow.environment == environment,
        FreezeRow.removed_at > DeploymentRow.created_at,
    )
    runs = open_.where(DeploymentRow.phase.not_in((*TERMINAL_PHASES, Phase.QUEUED)))
    waits = open_.where(DeploymentRow.phase == Phase.QUEUED, lifted.exists())
    return bool(await session.scalar(select(waits.exists() & ~runs.exists())))


async def _remove(session: AsyncSession, row: FreezeRow, actor: str, reason: str) -> None:
    now = (await session.execute(select(func.now()))).scalar_one()
    row.removed_by, row.removed_at, row.removal_reason = actor, now, reason
    await session.flush()


async def _tell(
    session: AsyncSession, row: FreezeRow, kind: EventKind, what: str, *, actor: str, reason: str
) -> None:
    """An audit entry, and an event for every deployment that it may concern: those that wait or run."""
    facts = {"id": row.id, "calendar": row.calendar, "until": row.until.isoformat() if row.until else None}
    added = kind is EventKind.FREEZE_ADDED
    note = AuditNote(
        actor=actor,
        action=kind,
        category=AuditCategory.ENVIRONMENT,
        subject="environment",
        subject_id=row.environment,
        reason=reason,
        before=None if added else facts,
        after=facts if added else None,
    )
    audit.note(session, note)
    concerned = await session.scalars(
        select(DeploymentRow.id)
        .where(
            DeploymentRow.tenant == row.tenant,
            DeploymentRow.environment == row.environment,
            DeploymentRow.phase.not_in(TERMINAL_PHASES),
        )
        .order_by(DeploymentRow.id)
    )
    payload = {
        "message": f"{what}: {reason}" if reason else what,
        "actor": actor,
        "environment": row.environment,
        "freeze": row.id,
    }
    for deployment in list(concerned):
        await locked_deployment(session, row.tenant, deployment)
        key = f"{kind}-{row.id}"
        await events.append(session, row.tenant, deployment, key=key, kind=kind, payload=payload)


def of_row(row: FreezeRow) -> StoredFreeze:
    """The freeze that a row describes."""
    return StoredFreeze.model_validate(row, from_attributes=True)
