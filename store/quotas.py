"""What tenants may use and what they do use: counted from the rows themselves, so that nothing leaks."""

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession

from domain.base import Frozen
from domain.deployment import TERMINAL_PHASES
from domain.tenancy import Quota, QuotaExceeded, Tier, quota_of
from store import tenants
from store.tables import DeploymentRow, NodeRow, ReleaseRow


class Usage(Frozen):
    """What a tenant uses of its quota, counted now."""

    nodes: int
    deployments: int
    storage_bytes: int


async def usage(session: AsyncSession, tenant: str) -> Usage:
    """What is in use, counted now from the rows: nothing is to be released, so nothing leaks."""
    return Usage(
        nodes=await _nodes(session, tenant),
        deployments=await _deployments(session, tenant),
        storage_bytes=await _storage(session, tenant),
    )


async def admit_node(session: AsyncSession, tenant: str) -> None:
    """See that one more node fits. Holds the tenant's row, so that of many at once only as many fit.

    Raises:
        QuotaExceeded: it does not fit.
    """
    limit = await _limits(session, tenant)
    if limit.nodes is not None and await _nodes(session, tenant) >= limit.nodes:
        raise QuotaExceeded(f"the quota is {limit.nodes} nodes", field="nodes")


async def admit_deployment(session: AsyncSession, tenant: str) -> None:
    """See that one more deployment may wait or run. Taken before the environment's lock.

    Where any number may, requests for different environments do not wait for each other.

    Raises:
        QuotaExceeded: it may not.
    """
    present = await tenants.get(session, tenant)
    if present.limits.deployments is None:
        return
    limit = await _limits(session, tenant)
    if limit.deployments is not None and await _deployments(session, tenant) >= limit.deployments:
        raise QuotaExceeded(
            f"the quota is {limit.deployments} deployments that wait or are under way", field="deployments"
        )


async def admit_storage(session: AsyncSession, tenant: str, size: int) -> None:
    """See that so many bytes more fit.

    Raises:
        QuotaExceeded: they do not.
    """
    limit = await _limits(session, tenant)
    if limit.storage_bytes is not None and await _storage(session, tenant) + size > limit.storage_bytes:
        raise QuotaExceeded(f"the quota is {limit.storage_bytes} bytes of bundles", field="storage_bytes")


async def _limits(session: AsyncSession, tenant: str) -> Quota:
    row = await tenants.locked(session, tenant)
    return quota_of(Tier(row.tier), Quota.model_validate(row.quota) if row.quota else None)


async def _nodes(session: AsyncSession, tenant: str) -> int:
    counted = select(func.count()).select_from(NodeRow).where(NodeRow.tenant == tenant)
    return (await session.execute(counted)).scalar_one()


async def _deployments(session: AsyncSession, tenant: str) -> int:
    counted = (
        select(func.count())
        .select_from(DeploymentRow)
        .where(DeploymentRow.tenant == tenant, DeploymentRow.phase.not_in(TERMINAL_PHASES))
    )
    return (await session.execute(counted)).scalar_one()


async def _storage(session: AsyncSession, tenant: str) -> int:
    total = select(func.coalesce(func.sum(ReleaseRow.size), 0)).where(ReleaseRow.tenant == tenant)
    return int((await session.execute(total)).scalar_one())
