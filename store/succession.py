"""One deployment in the place of another: who makes room for whom, and whose nodes they are afterwards."""

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from domain.arrival import Admission, Arrival, SupersedeMode, admit
from domain.deployment import Cause, CauseKind, Phase
from domain.events import EventKind
from domain.messages import Progress, Successor
from store import deployments, events, inheritance, lane_entries
from store.rows import locked_deployment
from store.tables import DeploymentRow


async def arrive(
    session: AsyncSession,
    tenant: str,
    deployment: str,
    *,
    arrival: Arrival,
    mode: SupersedeMode,
) -> Admission:
    """Apply the arrival policy to a deployment that was just queued; the caller refuses a blocked one.

    The insert has locked the environment: what is read of its lane here holds until the transaction ends.
    """
    if not arrival.heeds_others:
        return Admission()
    row = await session.get_one(DeploymentRow, (tenant, deployment))
    running, queued = await lane_entries.around(session, row, first_only=arrival is Arrival.REJECT)
    admission = admit(row.module, arrival, mode, running=running, queued=queued)
    if admission.blocked_by is not None:
        return admission
    what = f"{'hotfix ' if row.hotfix is not None else ''}{row.module}@{row.version}"
    cause = Cause(
        kind=CauseKind.SUPERSEDED,
        message=f"superseded by {what}, deployment {deployment}",
        actor=row.requester,
    )
    for each in admission.withdrawn:
        await deployments.withdraw(session, tenant, each, cause)
    if admission.supersedes is not None and admission.mode is not None:
        row.supersedes, row.supersede_mode = admission.supersedes, admission.mode
        await session.flush()
        await events.append(
            session,
            tenant,
            deployment,
            key="supersedes",
            kind=EventKind.SUPERSEDES,
            payload={
                "message": f"takes the place of deployment {admission.supersedes}, {admission.mode}",
                "actor": row.requester,
                "supersedes": admission.supersedes,
                "mode": admission.mode,
            },
        )
    return admission


async def successor(session: AsyncSession, tenant: str, deployment: str) -> Successor | None:
    """The deployment in the queue that this one makes room for."""
    row = await session.scalar(
        select(DeploymentRow)
        .where(
            DeploymentRow.tenant == tenant,
            DeploymentRow.supersedes == deployment,
            DeploymentRow.phase == Phase.QUEUED,
        )
        .order_by(DeploymentRow.created_at.desc())
        .limit(1)
    )
    if row is None or row.supersede_mode is None:
        return None
    what = f"{'hotfix ' if row.hotfix is not None else ''}{row.module}@{row.version}"
    words = f"superseded by {what}, deployment {row.id}"
    return Successor(deployment=row.id, mode=SupersedeMode(row.supersede_mode), words=words)


async def take_back_instead(session: AsyncSession, tenant: str, deployment: str, cause: Cause) -> bool:
    """Turn a waiting deployment that took changed nodes over into the rollback of what it superseded.

    False when it took none over: then it can just be withdrawn.
    """
    row = await locked_deployment(session, tenant, deployment)
    if row.phase != Phase.QUEUED or row.rolls_back is not None:
        return False
    if not await inheritance.inherited(session, tenant, deployment):
        return False
    row.rolls_back, row.override = row.supersedes, None
    row.message = f"{cause.message}: takes back what deployment {row.supersedes} had changed"
    await deployments.record(
        session,
        Progress(
            tenant=tenant,
            deployment=deployment,
            key="takes-back",
            event=EventKind.COMMAND,
            message=row.message,
            actor=cause.actor,
        ),
    )
    return True
