"""What a request for a deployment is admitted by, read at once: each statement costs a way to the server."""

from typing import Final

from sqlalchemy import bindparam, select
from sqlalchemy.ext.asyncio import AsyncSession

from domain.errors import NotFound
from store import environments, freezes, releases
from store.records import StoredEnvironment, StoredFreeze, StoredRelease
from store.tables import EnvironmentRow, FreezeRow, ReleaseRow

_GROUNDS: Final = (
    select(EnvironmentRow, ReleaseRow, FreezeRow)
    .outerjoin(
        ReleaseRow,
        (ReleaseRow.tenant == EnvironmentRow.tenant)
        & (ReleaseRow.module == bindparam("module"))
        & (ReleaseRow.version == bindparam("version")),
    )
    .outerjoin(
        FreezeRow,
        (FreezeRow.tenant == EnvironmentRow.tenant)
        & (FreezeRow.environment == EnvironmentRow.name)
        & FreezeRow.removed_at.is_(None),
    )
    .where(EnvironmentRow.tenant == bindparam("tenant"), EnvironmentRow.name == bindparam("environment"))
    .order_by(FreezeRow.created_at, FreezeRow.id)
)


async def grounds(
    session: AsyncSession, tenant: str, environment: str, module: str, version: str
) -> tuple[StoredEnvironment, list[StoredFreeze], StoredRelease]:
    """The environment, its freezes, and the release.

    Raises:
        NotFound: no such environment (`field` says so), or no such release of this tenant.
    """
    named = {"tenant": tenant, "environment": environment, "module": module, "version": version}
    rows = (await session.execute(_GROUNDS, named)).all()
    if not rows:
        raise NotFound(f"no environment {environment!r}", field="environment")
    place, release, _ = rows[0]
    if release is None:
        raise NotFound(f"no release {module}@{version}")
    frozen = [freezes.of_row(freeze) for _, _, freeze in rows if freeze is not None]
    return environments.of_row(place), frozen, releases.of_row(release)
