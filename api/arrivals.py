"""How a request comes to a busy lane: what it may ask for, and what that does to others."""

from sqlalchemy.ext.asyncio import AsyncSession

from api.links import deployment_path
from domain.arrival import Arrival, stricter
from domain.errors import Conflict, InvalidInput, LaneBusy
from domain.names import EnvironmentName, TenantId
from domain.policy import EnvironmentPolicy
from store import deployments, environments, succession


def arrival_of(
    policy: EnvironmentPolicy, asked: Arrival | None, *, hotfix: bool, reason: str, override: str | None
) -> Arrival:
    """The arrival that a request gets.

    Raises:
        InvalidInput: a laxer one was asked for; a hotfix without a reason, or where none is allowed; an
            override of anything but a hotfix. `field` names which.
    """
    if hotfix:
        hotfix_allowed(policy)
    if hotfix and not reason:
        raise InvalidInput("a hotfix needs a reason", field="reason")
    if reason and not hotfix:
        raise InvalidInput("the reason is that of a hotfix: declare one, or use description", field="reason")
    if override is not None and not hotfix:
        raise InvalidInput("only a hotfix or a rollback may override a frozen lane", field="override")
    if hotfix and asked is None:
        return Arrival.PREEMPT
    return stricter(policy.arrival, asked)


def hotfix_allowed(policy: EnvironmentPolicy) -> None:
    """See that a request may be a hotfix.

    Raises:
        InvalidInput: the policy allows none.
    """
    if not policy.hotfix.allowed:
        raise InvalidInput("the environment's policy allows no hotfix", field="hotfix")


async def must_be_frozen(session: AsyncSession, tenant: TenantId, environment: EnvironmentName) -> None:
    """An override is for a lane that an unverified rollback has frozen.

    Raises:
        Conflict: this one is not.
    """
    if (await environments.get(session, tenant, environment)).frozen is None:
        raise Conflict(f"{environment} is not frozen by an unverified rollback", field="override")


async def arrive(
    session: AsyncSession,
    tenant: TenantId,
    environment: EnvironmentName,
    deployment: str,
    *,
    arrival: Arrival,
    policy: EnvironmentPolicy,
) -> None:
    """Apply the arrival to a deployment that was just queued.

    Raises:
        LaneBusy: the lane is busy and the arrival rejects; the transaction takes the insert back.
    """
    admission = await succession.arrive(session, tenant, deployment, arrival=arrival, mode=policy.supersede)
    if admission.blocked_by is None:
        return
    other = admission.blocked_by
    ahead = (await deployments.get(session, tenant, other)).release
    busy = f"{environment} is busy with {ahead.module}@{ahead.version}, deployment {other}"
    raise LaneBusy(busy, link=deployment_path(other))
