"""What the end of a deployment means for the nodes around it: which may now lack what is current."""

from typing import Final

from sqlalchemy import func, or_, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from domain.deployment import Phase
from store.tables import DeploymentNodeRow, DeploymentRow, NodeRow

FAILED: Final = "catch-up-failed"  # the code of a quarantine that a failed catch-up leaves


async def settle(session: AsyncSession, row: DeploymentRow) -> None:
    """Mark the nodes of the environment that have to be looked at after this deployment has ended.

    After a completed one, those that it did not change may lack it, and those that were due before have to
    report anew: what they said last is of the time before it. So have those that were caught up. After one
    that was taken back, those that were caught up to it have it too much. A catch-up that failed leaves its
    nodes quarantined: trying again and again would help nobody. One that made room says nothing about them.
    """
    everybody = update(NodeRow).where(NodeRow.tenant == row.tenant, NodeRow.environment == row.environment)
    if row.catch_up:
        mine = everybody.where(NodeRow.name.in_(row.only_nodes or []))
        if row.phase == Phase.COMPLETED:
            await session.execute(mine.where(NodeRow.due_since.is_not(None)).values(due_since=func.now()))
        elif row.phase != Phase.SUPERSEDED:
            why = {"code": FAILED, "message": row.message, "deployment": row.id, "actor": None}
            await session.execute(mine.where(NodeRow.quarantine.is_(None)).values(quarantine=why))
            await session.execute(mine.values(due_since=None))
    elif row.phase == Phase.COMPLETED:
        changed = select(DeploymentNodeRow.node).where(
            DeploymentNodeRow.tenant == row.tenant,
            DeploymentNodeRow.deployment == row.id,
            DeploymentNodeRow.verified_at.is_not(None),
        )
        ask = or_(NodeRow.name.not_in(changed), NodeRow.due_since.is_not(None))
        await session.execute(everybody.where(ask).values(due_since=func.now()))
    elif row.rolls_back is not None:
        await session.execute(everybody.values(due_since=func.now()))
