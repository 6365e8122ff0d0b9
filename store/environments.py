"""Environments and their policies."""

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from domain.policy import EnvironmentPolicy
from store.records import EnvironmentTerms, StoredEnvironment
from store.rows import environment_row
from store.tables import EnvironmentRow


async def get(session: AsyncSession, tenant: str, environment: str) -> StoredEnvironment:
    """One environment.

    Raises:
        NotFound: no such environment of this tenant.
    """
    return of_row(await environment_row(session, tenant, environment))


async def policy(session: AsyncSession, tenant: str, environment: str) -> EnvironmentPolicy:
    """What the environment demands.

    Raises:
        NotFound: no such environment of this tenant.
    """
    return (await get(session, tenant, environment)).policy


async def of_tenant(session: AsyncSession, tenant: str) -> list[StoredEnvironment]:
    """All environments, from development to production."""
    rows = await session.scalars(
        select(EnvironmentRow)
        .where(EnvironmentRow.tenant == tenant)
        .order_by(EnvironmentRow.position, EnvironmentRow.name)
    )
    return [of_row(row) for row in rows]


async def terms(session: AsyncSession, tenant: str) -> dict[str, EnvironmentTerms]:
    """The terms of every environment, by name; no policy is read whole."""
    strategy = EnvironmentRow.policy["strategy"]["kind"].astext
    rows = await session.execute(
        select(EnvironmentRow.name, strategy, EnvironmentRow.frozen_by).where(EnvironmentRow.tenant == tenant)
    )
    return {name: EnvironmentTerms(strategy=kind, frozen_by=frozen_by) for name, kind, frozen_by in rows}


async def set_policy(session: AsyncSession, tenant: str, environment: str, policy: EnvironmentPolicy) -> None:
    """Replace the policy; deployments that have a plan keep theirs.

    Raises:
        NotFound: no such environment of this tenant.
    """
    row = await environment_row(session, tenant, environment, lock=True)
    row.policy = policy.model_dump(mode="json")


def of_row(row: EnvironmentRow) -> StoredEnvironment:
    """The environment that a row describes."""
    return StoredEnvironment(
        name=row.name,
        policy=EnvironmentPolicy.model_validate(row.policy),
        frozen=row.frozen,
        frozen_by=row.frozen_by,
    )
