"""What ran when: the deployments that changed nodes of an environment, each node from what to what."""

from datetime import datetime

from sqlalchemy import select, tuple_
from sqlalchemy.ext.asyncio import AsyncSession

from domain.base import Frozen
from domain.deployment import Phase
from domain.release import ReleaseRef
from domain.wire import ModuleReport
from store.records import DeploymentSummary, Page
from store.rows import summaries, summary_of, taken_back
from store.tables import DeploymentNodeRow, DeploymentRow


class NodeChange(Frozen):
    """What a node ran before a deployment and what it was last seen to run in it; None: not installed.

    `seen` says whether the node was read at all after it was touched.
    """

    node: str
    before: ReleaseRef | None
    after: ReleaseRef | None
    seen: bool
    verified_at: datetime | None


class HistoryEntry(Frozen):
    """One deployment that changed nodes."""

    deployment: DeploymentSummary
    changes: tuple[NodeChange, ...]


async def page(
    session: AsyncSession,
    tenant: str,
    environment: str,
    *,
    module: str | None = None,
    node: str | None = None,
    before: tuple[datetime, str] | None = None,
    limit: int = 20,
) -> Page[HistoryEntry]:
    """Newest first; `before` is (created_at, id) of the last one seen."""
    touched = select(DeploymentNodeRow.node).where(
        DeploymentNodeRow.tenant == DeploymentRow.tenant,
        DeploymentNodeRow.deployment == DeploymentRow.id,
        DeploymentNodeRow.touched_at.is_not(None),
    )
    if node is not None:
        touched = touched.where(DeploymentNodeRow.node == node)
    statement = summaries().where(
        DeploymentRow.tenant == tenant, DeploymentRow.environment == environment, touched.exists()
    )
    if module is not None:
        statement = statement.where(DeploymentRow.module == module)
    if before is not None:
        statement = statement.where(tuple_(DeploymentRow.created_at, DeploymentRow.id) < tuple_(*before))
    ordered = statement.order_by(DeploymentRow.created_at.desc(), DeploymentRow.id.desc()).limit(limit + 1)
    found = [summary_of(*row) for row in await session.execute(ordered)]
    changes = await _changes(session, tenant, [each.id for each in found[:limit]], node)
    items = tuple(HistoryEntry(deployment=each, changes=changes.get(each.id, ())) for each in found[:limit])
    return Page(items=items, more=len(found) > limit)


async def has_run(session: AsyncSession, tenant: str, environment: str, module: str, version: str) -> bool:
    """Whether a deployment of the release has completed there and was not taken back."""
    completed = select(DeploymentRow.id).where(
        DeploymentRow.tenant == tenant,
        DeploymentRow.environment == environment,
        DeploymentRow.module == module,
        DeploymentRow.version == version,
        DeploymentRow.rolls_back.is_(None),
        DeploymentRow.phase == Phase.COMPLETED,
        ~taken_back(DeploymentRow, Phase.ROLLED_BACK_VERIFIED, Phase.ROLLED_BACK_UNVERIFIED),
    )
    return bool(await session.scalar(select(completed.exists())))


async def _changes(
    session: AsyncSession, tenant: str, deployments: list[str], node: str | None
) -> dict[str, tuple[NodeChange, ...]]:
    row = DeploymentNodeRow
    statement = select(row.deployment, row.node, row.prior, row.observed, row.verified_at).where(
        row.tenant == tenant, row.deployment.in_(deployments), row.touched_at.is_not(None)
    )
    if node is not None:
        statement = statement.where(row.node == node)
    found: dict[str, tuple[NodeChange, ...]] = {}
    for each in await session.execute(statement.order_by(row.deployment, row.node)):
        seen = ModuleReport.model_validate(each.observed) if each.observed else None
        change = NodeChange(
            node=each.node,
            before=ReleaseRef.model_validate(each.prior) if each.prior else None,
            after=seen.current if seen is not None else None,
            seen=seen is not None,
            verified_at=each.verified_at,
        )
        found[each.deployment] = (*found.get(each.deployment, ()), change)
    return found
