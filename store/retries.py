"""Trying a deployment again, on all nodes or on those that it lost."""

from sqlalchemy import func, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from domain.outcomes import OutcomeKind
from store.tables import DeploymentNodeRow, NodeRow


async def lost_nodes(session: AsyncSession, tenant: str, deployment: str) -> tuple[str, ...]:
    """The nodes whose last word in the deployment is a failure, by name."""
    found = await session.scalars(
        select(DeploymentNodeRow.node)
        .where(
            DeploymentNodeRow.tenant == tenant,
            DeploymentNodeRow.deployment == deployment,
            DeploymentNodeRow.outcome == OutcomeKind.FAILED,
        )
        .order_by(DeploymentNodeRow.node)
    )
    return tuple(found)


async def release_from_quarantine(
    session: AsyncSession, tenant: str, deployment: str, nodes: tuple[str, ...]
) -> list[str]:
    """End the quarantine of those of the nodes that this deployment has quarantined; which."""
    released = await session.scalars(
        update(NodeRow)
        .where(
            NodeRow.tenant == tenant,
            NodeRow.name.in_(nodes),
            NodeRow.quarantine["deployment"].astext == deployment,
        )
        .values(quarantine=None, due_since=func.now())
        .returning(NodeRow.name)
    )
    return sorted(released)
