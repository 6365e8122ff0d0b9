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
    that was taken back, those that were caught up to it have it too much.
    """
    everybody = update(NodeRow).where(NodeRow.tenant == row.tenant, NodeRow.environment == row.environment)
    if row.catch_up:
        await _settle_catch_up(session, row)
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


async def _settle_catch_up(session: AsyncSession, row: DeploymentRow) -> None:
    """Quarantine the nodes that failed, or all where it failed on no node by name; the others stay due.

    Trying again and again would help nobody: this way each further try has fewer nodes. A catch-up that made
    room says nothing about its nodes.
    """
    if row.phase == Phase.SUPERSEDED:
        return
    own = row.only_nodes or []
    failed = dict.fromkeys(row.unverified, row.message) | await _faults(session, row)
    if not failed and row.phase != Phase.COMPLETED:
        failed = dict.fromkeys(own, row.message)
    for name, message in failed.items():
        why = {"code": FAILED, "message": message, "deployment": row.id, "actor": None}
        mine = update(NodeRow).where(NodeRow.tenant == row.tenant, NodeRow.name == name)
        await session.execute(mine.where(NodeRow.quarantine.is_(None)).values(quarantine=why))
        await session.execute(mine.values(due_since=None))
    await session.execute(
        update(NodeRow)
        .where(NodeRow.tenant == row.tenant, NodeRow.name.in_(own), NodeRow.due_since.is_not(None))
        .values(due_since=func.now())
    )


async def _faults(session: AsyncSession, row: DeploymentRow) -> dict[str, str]:
    """The nodes on which the deployment has failed, each with what went wrong there."""
    found = await session.execute(
        select(DeploymentNodeRow.node, DeploymentNodeRow.fault["message"].astext.label("message")).where(
            DeploymentNodeRow.tenant == row.tenant,
            DeploymentNodeRow.deployment == row.id,
            DeploymentNodeRow.fault.is_not(None),
        )
    )
    return {each.node: each.message for each in found}
