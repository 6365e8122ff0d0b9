"""The nodes that a deployment takes over, changed, from those that it superseded."""

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from domain.deployment import Phase
from domain.names import NodeName
from domain.release import ReleaseRef
from store.tables import DeploymentNodeRow, DeploymentRow

Prior = dict[NodeName, ReleaseRef | None]


async def inherited(session: AsyncSession, tenant: str, deployment: str) -> Prior:
    """The nodes that a deployment took over, changed, from those that it superseded, each with its base.

    The base is what the node ran before the first of them: where a rollback returns to.
    """
    taken: Prior = {}
    present = await session.get_one(DeploymentRow, (tenant, deployment))
    while present.supersedes is not None:
        present = await session.get_one(DeploymentRow, (tenant, present.supersedes))
        if present.phase != Phase.SUPERSEDED:
            break
        if present.plan is None:
            continue  # it had taken over itself, and made no plan
        found = await session.execute(
            select(DeploymentNodeRow.node, DeploymentNodeRow.prior).where(
                DeploymentNodeRow.tenant == tenant,
                DeploymentNodeRow.deployment == present.id,
                DeploymentNodeRow.touched_at.is_not(None),
            )
        )
        for node, prior in found:
            taken[node] = ReleaseRef.model_validate(prior) if prior else None
        break  # its own record holds what it had taken over
    return taken
