"""Tenants: their rows, and their way from state to state. Every step is in their audit trail."""

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import delete, func, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from domain.audit import AuditCategory, AuditNote
from domain.base import Frozen
from domain.errors import Conflict, NotFound
from domain.names import Sha256
from domain.policy import default_policy
from domain.roles import Role
from domain.tenancy import (
    Quota,
    TenantOrder,
    TenantState,
    TenantStep,
    TenantSuspended,
    TenantUnavailable,
    Tier,
    move,
    quota_of,
)
from store import audit, users
from store.metadata import METADATA
from store.tables import EnvironmentRow, TenantRow, UserRow

ENVIRONMENTS = ("development", "qa", "staging", "production")
NO_PASSWORD = "!"  # noqa: S105 - a hash that nothing hashes to
# What stays of a tenant that is deleted: that it was there, and what was done in it.
_KEPT = ("tenants", "audit", "audit_heads")


class StoredTenant(Frozen):
    """A tenant as it stands. `quota` is its own, where it has one."""

    id: str
    name: str
    state: TenantState
    state_since: datetime
    reason: str
    tier: Tier
    quota: Quota | None
    first_admin: str
    created_at: datetime

    @property
    def limits(self) -> Quota:
        """What counts."""
        return quota_of(self.tier, self.quota)


async def add(
    session: AsyncSession,
    order: TenantOrder,
    *,
    name: str,
    tier: Tier,
    quota: Quota | None = None,
    trust: str | None = None,
) -> None:
    """A new tenant, which nobody can use yet.

    Raises:
        Conflict: the name is or was another's.
    """
    made = await session.scalar(
        insert(TenantRow)
        .values(
            id=order.tenant,
            name=name,
            state=TenantState.PROVISIONING,
            tier=tier,
            quota=quota.model_dump() if quota else None,
            trust=trust,
            first_admin=order.admin,
        )
        .on_conflict_do_nothing()
        .returning(TenantRow.id)
    )
    if made is None:
        raise Conflict(f"there is or was a tenant {order.tenant!r}", field="id")
    after = {"name": name, "tier": tier, "quota": quota.model_dump() if quota else None}
    _note(session, order.actor, "tenant.added", order.tenant, after=after)


async def exists(session: AsyncSession, tenant: str) -> bool:
    """Whether there is or was such a tenant."""
    return await session.get(TenantRow, tenant) is not None


async def get(session: AsyncSession, tenant: str) -> StoredTenant:
    """One tenant.

    Raises:
        NotFound: it is not the transaction's, or not there.
    """
    row = await session.get(TenantRow, tenant)
    if row is None:
        raise NotFound(f"no tenant {tenant!r}")
    return _tenant(row)


async def trust_of(session: AsyncSession, tenant: str) -> str | None:
    """The tenant's own signing roots (PEM); None where the installation's count."""
    return await session.scalar(select(TenantRow.trust).where(TenantRow.id == tenant))


async def list_all(session: AsyncSession, *states: TenantState) -> list[StoredTenant]:
    """Every tenant (in one of these states), by name of the subdomain. Needs the system's scope."""
    columns = [getattr(TenantRow, name) for name in StoredTenant.model_fields]
    statement = select(*columns).order_by(TenantRow.id)
    if states:
        statement = statement.where(TenantRow.state.in_(states))
    return [StoredTenant.model_validate(row._asdict()) for row in await session.execute(statement)]


async def require_open(session: AsyncSession, tenant: str) -> StoredTenant:
    """The tenant, when its requests are to be answered.

    Raises:
        TenantSuspended: it is suspended.
        TenantUnavailable: it is not there yet, or not any more.
    """
    row = await session.get(TenantRow, tenant)
    if row is None or row.state not in (TenantState.ACTIVE, TenantState.SUSPENDED):
        raise TenantUnavailable(f"the tenant {tenant!r} cannot be used")
    if row.state == TenantState.SUSPENDED:
        raise TenantSuspended(f"the tenant {tenant!r} is suspended")
    return _tenant(row)


async def require_made(session: AsyncSession, tenant: str) -> None:
    """See that a tenant is not just being made: that is its workflow's to end.

    Raises:
        NotFound: no such tenant.
        Conflict: it is being made.
    """
    if (await locked(session, tenant)).state == TenantState.PROVISIONING:
        raise Conflict(f"tenant {tenant!r} is being made")


async def move_to(
    session: AsyncSession, tenant: str, to: TenantState, *, actor: str, reason: str = ""
) -> StoredTenant:
    """Bring a tenant into a state; being there already changes nothing.

    Raises:
        NotFound: no such tenant.
        IllegalTransition: the state may not follow.
    """
    row = await locked(session, tenant)
    if row.state != to:
        before = row.state
        row.state = move(TenantState(before), to)
        row.state_since = (await session.execute(select(func.now()))).scalar_one()
        row.reason = reason
        _note(session, actor, f"tenant.{to}", tenant, reason=reason, before=before, after=to)
    return _tenant(row)


async def set_tier(
    session: AsyncSession, tenant: str, tier: Tier, quota: Quota | None, *, actor: str
) -> StoredTenant:
    """Another tier; what is in use beyond the new quota stays, nothing is added to it.

    Raises:
        NotFound: no such tenant.
    """
    row = await locked(session, tenant)
    before = {"tier": row.tier, "quota": row.quota}
    row.tier, row.quota = tier, quota.model_dump() if quota else None
    after = {"tier": tier, "quota": row.quota}
    _note(session, actor, "tenant.tier-set", tenant, before=before, after=after)
    return _tenant(row)


async def set_trust(
    session: AsyncSession, tenant: str, trust: str | None, *, roots: Sequence[Sha256], actor: str
) -> StoredTenant:
    """Other signing roots for what is pushed from now on; None: the installation's.

    Args:
        session: of the tenant.
        tenant: its name.
        trust: PEM.
        roots: the fingerprints of the certificates in it, for the audit trail.
        actor: who says so.

    Raises:
        NotFound: no such tenant.
    """
    row = await locked(session, tenant)
    row.trust = trust
    _note(session, actor, "tenant.trust-set", tenant, after={"roots": list(roots)})
    return _tenant(row)


async def make(session: AsyncSession, order: TenantOrder, step: TenantStep) -> None:
    """One step of a tenant's making; a repeat changes nothing."""
    if step is TenantStep.ENVIRONMENTS:
        await make_environments(session, order.tenant)
    elif await users.find(session, order.tenant, order.admin) is None:
        await users.insert(
            session, order.tenant, username=order.admin, password_hash=NO_PASSWORD, role=Role.ADMIN
        )


async def undo(session: AsyncSession, order: TenantOrder, step: TenantStep) -> None:
    """Take a step back; a repeat changes nothing."""
    row = EnvironmentRow if step is TenantStep.ENVIRONMENTS else UserRow
    await session.execute(delete(row).where(row.tenant == order.tenant))


async def make_environments(session: AsyncSession, tenant: str) -> None:
    """The environments that every tenant begins with, under their default policies."""
    rows = [
        {
            "tenant": tenant,
            "name": name,
            "position": position,
            "policy": default_policy(name).model_dump(mode="json"),
        }
        for position, name in enumerate(ENVIRONMENTS)
    ]
    await session.execute(insert(EnvironmentRow).on_conflict_do_nothing(), rows)


async def take_first_password(session: AsyncSession, tenant: str, password_hash: str, *, actor: str) -> str:
    """Give the first admin a password, once, to be changed at the first sign-in; the admin's name.

    Raises:
        NotFound: no such tenant.
        Conflict: the tenant is not active, or its first admin has a password already.
    """
    row = await locked(session, tenant)
    admin = await session.get(UserRow, (tenant, row.first_admin), with_for_update=True)
    if row.state != TenantState.ACTIVE or admin is None or admin.password_hash != NO_PASSWORD:
        raise Conflict(f"the first admin of {tenant!r} cannot be given a password (any more)")
    admin.password_hash, admin.must_change = password_hash, True
    _note(session, actor, "tenant.bootstrapped", tenant, after={"admin": row.first_admin})
    return row.first_admin


async def erase(session: AsyncSession, tenant: str) -> None:
    """Delete everything of a tenant but its own row and its audit trail."""
    for table in reversed(METADATA.sorted_tables):
        if table.name not in _KEPT and "tenant" in table.c:
            await session.execute(delete(table).where(table.c.tenant == tenant))


async def locked(session: AsyncSession, tenant: str) -> TenantRow:
    """The tenant's row, locked against changes (not against rows that refer to it).

    Raises:
        NotFound: no such tenant.
    """
    statement = (
        select(TenantRow)
        .where(TenantRow.id == tenant)
        .with_for_update(key_share=True)
        .execution_options(populate_existing=True)
    )
    row = await session.scalar(statement)
    if row is None:
        raise NotFound(f"no tenant {tenant!r}")
    return row


def _tenant(row: TenantRow) -> StoredTenant:
    return StoredTenant.model_validate(row, from_attributes=True)


def _note(
    session: AsyncSession,
    actor: str,
    action: str,
    tenant: str,
    *,
    reason: str = "",
    before: object = None,
    after: object = None,
) -> None:
    note = AuditNote(
        actor=actor,
        action=action,
        category=AuditCategory.TENANT,
        subject="tenant",
        subject_id=tenant,
        reason=reason,
        before=before,
        after=after,
    )
    audit.note(session, note)
