"""What a breached guard window leaves behind: a deployment that takes the watched one back."""

from collections.abc import Mapping
from typing import Final

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import defer

from domain.deployment import Phase
from domain.guard import Breach, Returned
from store import deployments
from store.records import StoredDeployment
from store.rows import environment_row
from store.tables import DeploymentRow

REQUESTER: Final = "guard"


# Ends that leave nothing on the nodes. What a superseded one changed is its successor's, which came later.
_WITHOUT_TRACE: Final = (
    Phase.REJECTED,
    Phase.ABORTED,
    Phase.FAILED,
    Phase.SUPERSEDED,
    Phase.ROLLED_BACK_VERIFIED,
)


async def take_back(session: AsyncSession, breach: Breach) -> Returned:
    """Queue the way back, in front of what waits, once; nothing where it is taken back or replaced already.

    Deployments of other modules that came later are left alone, and those of this module that left nothing
    on the nodes do not matter. The nodes to take back are those that the watched deployment changed.

    Raises:
        NotFound: no such deployment of this tenant.
    """
    record = f"{breach.deployment}-guard"
    watched = await deployments.get(session, breach.tenant, breach.deployment)
    module = watched.release.module
    await environment_row(session, breach.tenant, breach.environment, lock=True)
    later = await _later(session, breach, watched)
    if record in later:
        return Returned(deployment=record)
    replaced = next((each for each in later.values() if each.rolls_back == breach.deployment), None)
    replaced = replaced or _lasting(later)
    if replaced is not None or watched.phase is not Phase.COMPLETED:
        came = f"deployment {replaced.id} of {module} came later" if replaced else f"it is {watched.phase}"
        return Returned(reason=f"left alone: {came}")
    await deployments.insert(
        session,
        breach.tenant,
        deployment=record,
        environment=breach.environment,
        module=module,
        version=watched.release.version,
        requester=REQUESTER,
        description=breach.reason,
        rolls_back=breach.deployment,
        hotfix=breach.reason,
    )
    return Returned(deployment=record)


async def _later(
    session: AsyncSession, breach: Breach, watched: StoredDeployment
) -> dict[str, DeploymentRow]:
    """Deployments of the module that came after the watched one, the latest first, by id."""
    rows = await session.scalars(
        select(DeploymentRow)
        .where(
            DeploymentRow.tenant == breach.tenant,
            DeploymentRow.environment == breach.environment,
            DeploymentRow.module == watched.release.module,
            DeploymentRow.created_at > watched.created_at,
            DeploymentRow.catch_up.is_(False),
        )
        .options(defer(DeploymentRow.plan))
        .order_by(DeploymentRow.created_at.desc(), DeploymentRow.id.desc())
    )
    return {row.id: row for row in rows}


def _lasting(later: Mapping[str, DeploymentRow]) -> DeploymentRow | None:
    """The latest that is under way, or whose release is on nodes."""
    undone = [
        row.rolls_back for row in later.values() if row.rolls_back and row.phase == Phase.ROLLED_BACK_VERIFIED
    ]
    lasting = (row for row in later.values() if row.phase not in _WITHOUT_TRACE and row.id not in undone)
    return next(lasting, None)
