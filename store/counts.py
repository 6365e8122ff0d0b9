"""How many there are of what, over all tenants: for monitoring."""

from sqlalchemy import func, or_, select
from sqlalchemy.ext.asyncio import AsyncSession

from domain.base import Frozen
from domain.deployment import Phase
from domain.tenancy import Quota, Tier, nearly_used, quota_of
from store.tables import DeploymentRow, EnvironmentRow, NodeRow, PollRow, ReleaseRow, TenantRow


class Counts(Frozen):
    """Numbers of this moment, by environment's name where it matters.

    `silent` counts the nodes of `nodes` that were not heard of for longer than asked; `near_quota` the
    tenants that have used nine tenths of their nodes or of their storage.
    """

    deployments: dict[tuple[str, Phase], int]
    nodes: dict[str, int]
    silent: dict[str, int]
    frozen: int
    gates: int
    near_quota: dict[str, int]


async def count(session: AsyncSession, *, silent_after: float) -> Counts:
    """Count everything; a node is silent when its last report is older than `silent_after` seconds."""
    by_phase = await session.execute(
        select(DeploymentRow.environment, DeploymentRow.phase, func.count()).group_by(
            DeploymentRow.environment, DeploymentRow.phase
        )
    )
    latest = func.now() - func.make_interval(0, 0, 0, 0, 0, 0, silent_after)
    silent = func.count(NodeRow.name).filter(or_(NodeRow.last_seen.is_(None), NodeRow.last_seen < latest))
    by_environment = (
        await session.execute(
            select(EnvironmentRow.name, func.count(NodeRow.name), silent)
            .outerjoin(
                NodeRow,
                (NodeRow.tenant == EnvironmentRow.tenant) & (NodeRow.environment == EnvironmentRow.name),
            )
            .group_by(EnvironmentRow.name)
        )
    ).all()
    frozen = select(func.count()).select_from(EnvironmentRow).where(EnvironmentRow.frozen.is_not(None))
    gates = select(func.count()).select_from(PollRow).where(PollRow.closed_at.is_(None))
    return Counts(
        deployments={(environment, Phase(phase)): number for environment, phase, number in by_phase},
        nodes={name: number for name, number, _silent in by_environment},
        silent={name: quiet for name, _number, quiet in by_environment},
        frozen=(await session.execute(frozen)).scalar_one(),
        gates=(await session.execute(gates)).scalar_one(),
        near_quota=await _near_quota(session),
    )


async def _near_quota(session: AsyncSession) -> dict[str, int]:
    nodes = select(func.count()).where(NodeRow.tenant == TenantRow.id).scalar_subquery()
    storage = select(func.sum(ReleaseRow.size)).where(ReleaseRow.tenant == TenantRow.id).scalar_subquery()
    rows = await session.execute(select(TenantRow.tier, TenantRow.quota, nodes, storage))
    near = {"nodes": 0, "storage": 0}
    for tier, own, registered, kept in rows:
        quota = quota_of(Tier(tier), Quota.model_validate(own) if own else None)
        near["nodes"] += nearly_used(quota.nodes, registered)
        near["storage"] += nearly_used(quota.storage_bytes, int(kept or 0))
    return near
