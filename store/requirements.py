"""What an environment's policy requires of a release before it may come: that another one has proved it."""

from sqlalchemy import exists, select
from sqlalchemy.ext.asyncio import AsyncSession

from domain.deployment import Phase
from domain.errors import InvalidInput, RequirementUnmet
from domain.policy import EnvironmentPolicy
from store.rows import taken_back
from store.tables import DeploymentRow, EnvironmentRow


async def check(
    session: AsyncSession,
    tenant: str,
    environment: str,
    policy: EnvironmentPolicy,
    *,
    module: str,
    version: str,
) -> None:
    """Refuse a release that the policy's `requires` has not seen complete.

    Raises:
        RequirementUnmet: no deployment of it has completed there, or the last one was taken back.
    """
    if policy.requires is None or await has_completed(session, tenant, policy.requires, module, version):
        return
    raise RequirementUnmet(
        f"{environment} requires that {module}@{version} has completed in {policy.requires} first",
        field="environment",
    )


async def check_policy(
    session: AsyncSession, tenant: str, environment: str, policy: EnvironmentPolicy
) -> None:
    """Refuse a policy by which no release could come here.

    One whose analysis judges nothing is never sure. One that requires an environment which does not come
    before its own could make a circle of environments that wait for one another.

    Raises:
        InvalidInput: nothing is judged; there is no environment of that name, or it comes later.
    """
    judged = policy.analysis
    if not (judged.metrics or judged.sources or judged.conditions):
        raise InvalidInput(
            "nothing would be judged: give metrics, sources or conditions", field="analysis.metrics"
        )
    if policy.requires is None:
        return
    rows = await session.execute(
        select(EnvironmentRow.name, EnvironmentRow.position).where(EnvironmentRow.tenant == tenant)
    )
    positions = {row.name: row.position for row in rows}
    own = positions.get(environment)
    if policy.requires not in positions or (own is not None and positions[policy.requires] >= own):
        raise InvalidInput(
            f"{policy.requires!r} is not an environment before {environment!r}", field="requires"
        )


async def has_completed(
    session: AsyncSession, tenant: str, environment: str, module: str, version: str
) -> bool:
    """Whether a deployment of the release has completed there that was not taken back since."""
    found = exists().where(
        DeploymentRow.tenant == tenant,
        DeploymentRow.environment == environment,
        DeploymentRow.module == module,
        DeploymentRow.version == version,
        DeploymentRow.rolls_back.is_(None),
        DeploymentRow.phase == Phase.COMPLETED,
        ~taken_back(DeploymentRow, Phase.ROLLED_BACK_VERIFIED, Phase.ROLLED_BACK_UNVERIFIED),
    )
    return bool(await session.scalar(select(found)))
