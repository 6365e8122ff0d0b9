"""How many nodes of each zone are up, and which of those to be changed may therefore start now."""

from collections.abc import Mapping, Sequence

from sqlalchemy import Float, cast, extract, func, select
from sqlalchemy.ext.asyncio import AsyncSession

from domain.availability import Standing, admitted, spoilt
from domain.health import ailments
from domain.outcomes import OutcomeKind
from domain.wire import NodeReport
from store.rows import locked_deployment
from store.tables import DeploymentNodeRow, NodeRow

# What was recorded of a node last while its change is under way; one that was started beside still serves.
_IN_CHANGE = (None, OutcomeKind.STAGED)


async def may_start(
    session: AsyncSession, tenant: str, deployment: str, wanted: Sequence[str], margin: Mapping[str, int]
) -> tuple[str, ...]:
    """Those of the wanted nodes that may be changed now, so that each zone keeps its margin.

    The lock on the deployment's row makes batches that ask at once count each other's nodes.

    Raises:
        NotFound: no such deployment of this tenant.
    """
    return admitted(wanted, await _standings(session, tenant, deployment), margin)


async def spoilt_by(
    session: AsyncSession, tenant: str, deployment: str, waiting: Sequence[str]
) -> tuple[str, ...]:
    """Those of the waiting nodes whose zone is short perhaps because of the deployment itself.

    Raises:
        NotFound: no such deployment of this tenant.
    """
    return spoilt(waiting, await _standings(session, tenant, deployment))


async def _standings(session: AsyncSession, tenant: str, deployment: str) -> dict[str, Standing]:
    row = await locked_deployment(session, tenant, deployment)
    age = cast(extract("epoch", func.now() - NodeRow.last_seen), Float)
    found = await session.execute(
        select(
            NodeRow.name,
            NodeRow.labels["zone"].astext,
            age,
            NodeRow.report,
            DeploymentNodeRow.touched_at,
            DeploymentNodeRow.outcome,
        )
        .outerjoin(
            DeploymentNodeRow,
            (DeploymentNodeRow.tenant == NodeRow.tenant)
            & (DeploymentNodeRow.node == NodeRow.name)
            & (DeploymentNodeRow.deployment == deployment),
        )
        .where(
            NodeRow.tenant == tenant,
            NodeRow.environment == row.environment,
            NodeRow.quarantine.is_(None),
        )
    )
    return {
        name: Standing(
            zone=zone or "",
            healthy=not ailments(NodeReport.model_validate(report) if report else None, seconds),
            in_change=touched is not None and outcome in _IN_CHANGE,
            touched=touched is not None,
        )
        for name, zone, seconds, report, touched, outcome in found
    }
