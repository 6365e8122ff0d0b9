"""What a breached guard window leaves behind: a deployment that takes the watched one back."""

from typing import Final

from sqlalchemy.ext.asyncio import AsyncSession

from domain.deployment import Phase
from domain.guard import Breach, Returned
from store import deployments

REQUESTER: Final = "guard"


async def take_back(session: AsyncSession, breach: Breach) -> Returned:
    """Queue the way back, in front of what waits, once; nothing where it is taken back or replaced already.

    Deployments of other modules that came later are left alone. The nodes to take back are those that the
    watched deployment changed.

    Raises:
        NotFound: no such deployment of this tenant.
    """
    record = f"{breach.deployment}-guard"
    watched = await deployments.get(session, breach.tenant, breach.deployment)
    module = watched.release.module
    newest = await deployments.newest_of_module(session, breach.tenant, breach.environment, module)
    if newest == record:
        return Returned(deployment=record)
    if newest != breach.deployment or watched.phase is not Phase.COMPLETED:
        return Returned(reason=f"left alone: deployment {newest} of {module} came later")
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
