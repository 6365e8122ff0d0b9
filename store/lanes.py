"""Lanes: what runs, what waits, and why nothing may start."""

from sqlalchemy import func, select
from sqlalchemy.dialects.postgresql import aggregate_order_by
from sqlalchemy.ext.asyncio import AsyncSession

from domain.deployment import TERMINAL_PHASES, Phase
from domain.errors import Conflict
from domain.events import EventKind
from domain.messages import LaneView
from domain.policy import EnvironmentPolicy
from domain.tenancy import TenantState
from store import events, freezes, lane_entries
from store.records import OpenLane
from store.rows import environment_row, locked_deployment
from store.tables import DeploymentRow, TenantRow


async def load(session: AsyncSession, tenant: str, environment: str, *, at: float | None = None) -> LaneView:
    """The lane as it stands; with `at` (seconds since the epoch) also whether it is frozen then.

    Raises:
        NotFound: no such environment of this tenant.
    """
    row = await environment_row(session, tenant, environment)
    held = await _held(session, tenant)
    policy = EnvironmentPolicy.model_validate(row.policy)
    under_way, queued, waiting = await lane_entries.read(
        session, tenant, environment, strategy=policy.strategy.kind
    )
    return LaneView(
        frozen=row.frozen or held,
        may_override=row.frozen is not None and held is None,
        override_gate=policy.hotfix.override if row.frozen else None,
        freeze=await freezes.at(session, tenant, environment, at) if at is not None else None,
        running=under_way[0] if under_way else None,
        beside=under_way[1] if len(under_way) > 1 else None,
        queued=tuple(queued),
        waiting=waiting,
    )


async def _held(session: AsyncSession, tenant: str) -> str | None:
    """Why nothing may start in any lane of the tenant: what runs goes on, what waits keeps waiting."""
    state = await session.scalar(select(TenantRow.state).where(TenantRow.id == tenant))
    return None if state == TenantState.ACTIVE else f"the tenant is {state}"


async def with_work(session: AsyncSession) -> list[OpenLane]:
    """Every lane, of all tenants, where a deployment waits or runs."""
    queued = aggregate_order_by(DeploymentRow.id, DeploymentRow.created_at, DeploymentRow.id)
    rows = await session.execute(
        select(
            DeploymentRow.tenant,
            DeploymentRow.environment,
            func.array_agg(queued).filter(DeploymentRow.phase == Phase.QUEUED),
        )
        .where(DeploymentRow.phase.not_in(TERMINAL_PHASES))
        .group_by(DeploymentRow.tenant, DeploymentRow.environment)
    )
    return [
        OpenLane(tenant=tenant, environment=environment, queued=tuple(waiting or ()))
        for tenant, environment, waiting in rows
    ]


async def freeze(session: AsyncSession, tenant: str, deployment: str, reason: str) -> None:
    """Let nothing start in the deployment's environment until a person has resolved it.

    Once per deployment: a late repeat does not freeze again what was resolved meanwhile.

    Raises:
        NotFound: no such deployment of this tenant.
    """
    row = await locked_deployment(session, tenant, deployment)
    fresh = await events.append(
        session,
        tenant,
        deployment,
        key="lane-frozen",
        kind=EventKind.LANE_FROZEN,
        payload={"message": reason, "environment": row.environment},
    )
    if fresh:
        environment = await environment_row(session, tenant, row.environment, lock=True)
        environment.frozen, environment.frozen_by = reason, deployment


async def resolve(session: AsyncSession, tenant: str, environment: str, actor: str, reason: str) -> None:
    """Let the lane go on: a person has looked and says why that is right.

    Raises:
        NotFound: no such environment of this tenant.
        Conflict: the environment is not frozen.
    """
    frozen_by = (await environment_row(session, tenant, environment)).frozen_by
    if frozen_by is None:
        raise Conflict(f"environment {environment!r} is not frozen", field="environment")
    await locked_deployment(session, tenant, frozen_by)  # before the environment's, as everywhere
    row = await environment_row(session, tenant, environment, lock=True)
    row.frozen, row.frozen_by = None, None
    await events.append(
        session,
        tenant,
        frozen_by,
        key="lane-resolved",
        kind=EventKind.LANE_RESOLVED,
        payload={"message": reason, "actor": actor, "environment": environment},
    )
