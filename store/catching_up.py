"""Nodes that may lack what is current: deferred, joined, released from quarantine, or left out of an undo.

They are brought straight to what is current when they report, by a deployment of their own through the lane;
what came and went meanwhile is skipped. A node that was lost between a start beside and the end of what was
replaced runs two releases: it is brought back to one by the same way.
"""

import secrets
from collections.abc import Sequence
from typing import Final

from sqlalchemy import func, select, update
from sqlalchemy.dialects.postgresql import distinct_on
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import aliased

from domain.deployment import Phase
from domain.health import HEARTBEAT_SECONDS, MISSED_HEARTBEATS
from domain.wire import NodeReport
from store import deployments
from store.records import OpenLane
from store.rows import environment_row
from store.tables import DeploymentRow, NodeRow

REQUESTER: Final = "catch-up"
_FRESH: Final = HEARTBEAT_SECONDS * MISSED_HEARTBEATS
_ENDS = tuple(phase for phase in Phase if phase.terminal)


async def lanes_due(session: AsyncSession) -> list[OpenLane]:
    """Every environment, of all tenants, with a node that may lack what is current and reports again."""
    rows = await session.execute(
        select(NodeRow.tenant, NodeRow.environment)
        .where(NodeRow.due_since.is_not(None), NodeRow.last_seen > NodeRow.due_since)
        .distinct()
    )
    return [OpenLane(tenant=tenant, environment=environment, queued=()) for tenant, environment in rows]


async def queue(session: AsyncSession, tenant: str, environment: str) -> tuple[str, ...]:
    """Queue a deployment per module for the nodes that do not run it alone; the others are no longer due.

    While the lane is busy nothing is queued: what is current may be about to change.

    Raises:
        NotFound: no such environment of this tenant.
    """
    await environment_row(session, tenant, environment, lock=True)
    busy = await session.scalar(
        select(func.count())
        .select_from(DeploymentRow)
        .where(
            DeploymentRow.tenant == tenant,
            DeploymentRow.environment == environment,
            DeploymentRow.phase.not_in(_ENDS),
        )
    )
    if busy:
        return ()
    running = await _reported(session, tenant, environment)
    made, lacking = [], set[str]()
    for module, version in await _current(session, tenant, environment):
        nodes = [name for name, modules in running.items() if modules.get(module) != [version]]
        if nodes:
            made.append(await _insert(session, tenant, environment, (module, version), nodes))
            lacking.update(nodes)
    done = [name for name in running if name not in lacking]
    await session.execute(
        update(NodeRow).where(NodeRow.tenant == tenant, NodeRow.name.in_(done)).values(due_since=None)
    )
    return tuple(made)


async def _reported(session: AsyncSession, tenant: str, environment: str) -> dict[str, dict[str, list[str]]]:
    """The due nodes that report, each with the version of every module that it runs, and what runs beside."""
    age = func.extract("epoch", func.now() - NodeRow.last_seen)
    rows = await session.execute(
        select(NodeRow.name, NodeRow.report)
        .where(
            NodeRow.tenant == tenant,
            NodeRow.environment == environment,
            NodeRow.quarantine.is_(None),
            NodeRow.last_seen > NodeRow.due_since,
            age < _FRESH,
        )
        .order_by(NodeRow.name)
    )
    return {
        name: {
            each.module: [each.current.version, *([each.beside.release.version] if each.beside else ())]
            for each in NodeReport.model_validate(report).modules
            if each.current is not None
        }
        for name, report in rows
    }


async def _current(session: AsyncSession, tenant: str, environment: str) -> Sequence[tuple[str, str]]:
    """Module and version of the last completed deployment of each module that was not taken back."""
    undone = aliased(DeploymentRow)
    taken_back = select(undone.id).where(
        undone.tenant == DeploymentRow.tenant,
        undone.rolls_back == DeploymentRow.id,
        undone.phase == Phase.ROLLED_BACK_VERIFIED,
    )
    rows = await session.execute(
        select(DeploymentRow.module, DeploymentRow.version)
        .where(
            DeploymentRow.tenant == tenant,
            DeploymentRow.environment == environment,
            DeploymentRow.phase == Phase.COMPLETED,
            DeploymentRow.catch_up.is_(False),
            ~taken_back.exists(),
        )
        .ext(distinct_on(DeploymentRow.module))
        .order_by(DeploymentRow.module, DeploymentRow.finished_at.desc())
    )
    return [(module, version) for module, version in rows]


async def _insert(
    session: AsyncSession,
    tenant: str,
    environment: str,
    release: tuple[str, str],
    nodes: Sequence[str],
) -> str:
    module, version = release
    deployment = secrets.token_hex(8)
    await deployments.insert(
        session,
        tenant,
        deployment=deployment,
        environment=environment,
        module=module,
        version=version,
        requester=REQUESTER,
        description=f"brings {', '.join(nodes[:20])} to what is current",
        only_nodes=tuple(nodes),
        catch_up=True,
    )
    return deployment
