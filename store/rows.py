"""Single rows, found or locked, and turned into read models."""

from collections.abc import Sequence
from typing import Any, Final

from sqlalchemy import ColumnElement, Select, case, exists, select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import aliased, defer, load_only

from domain.deployment import Phase
from domain.errors import NotFound
from domain.release import ReleaseRef
from store.records import DeploymentSummary, StoredDeployment
from store.tables import DeploymentRow, EnvironmentRow, ReleaseRow

_APART: Final = ("release", "signer", "planned")
_SUMMARY: Final = tuple(name for name in DeploymentSummary.model_fields if name not in _APART)
_STORED: Final = tuple(name for name in StoredDeployment.model_fields if name not in _APART)


async def locked_deployment(session: AsyncSession, tenant: str, deployment: str) -> DeploymentRow:
    """A deployment's row, locked until the transaction ends.

    Raises:
        NotFound: no such deployment of this tenant.
    """
    statement = (
        select(DeploymentRow)
        .where(DeploymentRow.tenant == tenant, DeploymentRow.id == deployment)
        .with_for_update()
        .execution_options(populate_existing=True)
    )
    row = await session.scalar(statement)
    if row is None:
        raise NotFound(f"no deployment {deployment!r}")
    return row


async def environment_row(
    session: AsyncSession, tenant: str, environment: str, *, lock: bool = False
) -> EnvironmentRow:
    """An environment's row.

    Raises:
        NotFound: no such environment of this tenant.
    """
    statement = select(EnvironmentRow).where(
        EnvironmentRow.tenant == tenant, EnvironmentRow.name == environment
    )
    if lock:
        statement = statement.with_for_update().execution_options(populate_existing=True)
    row = await session.scalar(statement)
    if row is None:
        raise NotFound(f"no environment {environment!r}", field="environment")
    return row


def taken_back(deployment: type[DeploymentRow], *ends: Phase) -> ColumnElement[bool]:
    """Whether a rollback has taken a completed deployment back, and ended verified or in one of `ends`."""
    undone = aliased(DeploymentRow)
    return exists().where(
        undone.tenant == deployment.tenant,
        undone.rolls_back == deployment.id,
        undone.phase.in_(ends or (Phase.ROLLED_BACK_VERIFIED,)),
    )


def deployments_with_releases() -> Select[DeploymentRow, ReleaseRow]:
    """Deployments, each with what names the release that it is about."""
    return (
        select(DeploymentRow, ReleaseRow)
        .join(
            ReleaseRow,
            (ReleaseRow.tenant == DeploymentRow.tenant)
            & (ReleaseRow.module == DeploymentRow.module)
            & (ReleaseRow.version == DeploymentRow.version),
        )
        .options(load_only(ReleaseRow.digest, ReleaseRow.tree, ReleaseRow.signer, raiseload=True))
    )


def summaries() -> Select[DeploymentRow, ReleaseRow, str | None]:
    """What `summary_of` takes: no plans, but their strategy where it was the policy's.

    The policy's may have changed since.
    """
    planned = case((DeploymentRow.strategy.is_(None), DeploymentRow.plan["strategy"].astext))
    return deployments_with_releases().add_columns(planned).options(defer(DeploymentRow.plan))


async def deployment_with_release(
    session: AsyncSession, tenant: str, deployment: str
) -> tuple[DeploymentRow, ReleaseRow]:
    """One deployment's row and its release's.

    Raises:
        NotFound: no such deployment of this tenant.
    """
    statement = deployments_with_releases().where(
        DeploymentRow.tenant == tenant, DeploymentRow.id == deployment
    )
    found = (await session.execute(statement)).first()
    if found is None:
        raise NotFound(f"no deployment {deployment!r}")
    return found[0], found[1]


def ref_of(row: ReleaseRow) -> ReleaseRef:
    """The release that a row describes."""
    return ReleaseRef(module=row.module, version=row.version, digest=row.digest, tree=row.tree)


def deployment_of(row: DeploymentRow, release: ReleaseRow) -> StoredDeployment:
    """The deployment that a row describes, its plan included."""
    return stored_deployment(row, ref_of(release), release.signer)


def summary_of(row: DeploymentRow, release: ReleaseRow, planned: str | None) -> DeploymentSummary:
    """The deployment that a row describes; of its plan only the strategy is read, and apart."""
    apart = {"release": ref_of(release), "planned": planned}
    return DeploymentSummary.model_validate({**_values(row, _SUMMARY), **apart})


def stored_deployment(row: DeploymentRow, release: ReleaseRef, signer: str) -> StoredDeployment:
    """The deployment that a row describes, of a release that is known already."""
    planned = row.plan["strategy"] if row.plan is not None and row.strategy is None else None
    apart = {"release": release, "signer": signer, "planned": planned}
    return StoredDeployment.model_validate({**_values(row, _STORED), **apart})


def _values(row: DeploymentRow, names: Sequence[str]) -> dict[str, Any]:
    return {name: getattr(row, name) for name in names}
