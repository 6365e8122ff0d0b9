"""Nodes that may lack what is current: deferred, joined, released from quarantine, or left out of an undo.

They are brought straight to what is current when they report, by a deployment of their own through the lane;
what came and went meanwhile is skipped. While a rollout keeps the lane busy, nodes that it does not concern
are brought to the stable release beside it, and looked at again when it is over.

A node that was lost between a start beside and the end of what was replaced runs two releases: it is brought
back to one by the same way.
"""

import secrets
from collections.abc import Sequence
from typing import Final

from sqlalchemy import func, select, update
from sqlalchemy.dialects.postgresql import distinct_on
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import defer

from domain.deployment import TERMINAL_PHASES, Cause, CauseKind, Phase
from domain.health import HEARTBEAT_SECONDS, MISSED_HEARTBEATS
from domain.strategy import UNDO
from domain.wire import NodeReport
from store import deployments
from store.records import OpenLane
from store.rows import environment_row, taken_back
from store.tables import DeploymentNodeRow, DeploymentRow, NodeRow

REQUESTER: Final = "catch-up"
_FRESH: Final = HEARTBEAT_SECONDS * MISSED_HEARTBEATS
_OVER: Final = Cause(kind=CauseKind.SUPERSEDED, message="the rollout that it would have gone beside is over")


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

    While a rollout is under way only nodes that are not in its plan are caught up, and stay due: what is
    current may be about to change. Nothing is queued while a rollout has no plan yet, while one takes back
    what is current, or while others are being caught up.

    Raises:
        NotFound: no such environment of this tenant.
    """
    await environment_row(session, tenant, environment, lock=True)
    rollout, others = await _open(session, tenant, environment)
    for row in [each for each in others if _is_late(each, rollout)]:
        await deployments.withdraw(session, tenant, row.id, _OVER)
        others.remove(row)
    if any(each.catch_up for each in others) or (others if rollout is None else not _goes_forward(rollout)):
        return ()
    beside = rollout.id if rollout is not None else None
    running = await _reported(session, tenant, environment, beside)
    made, lacking = [], set[str]()
    for module, version in await _current(session, tenant, environment):
        nodes = [name for name, modules in running.items() if modules.get(module) != [version]]
        if nodes:
            made.append(await _insert(session, tenant, environment, (module, version), nodes, beside=beside))
            lacking.update(nodes)
    done = [name for name in running if name not in lacking]
    if beside is None:
        await session.execute(
            update(NodeRow).where(NodeRow.tenant == tenant, NodeRow.name.in_(done)).values(due_since=None)
        )
    return tuple(made)


async def _open(
    session: AsyncSession, tenant: str, environment: str
) -> tuple[DeploymentRow | None, list[DeploymentRow]]:
    """The rollout that keeps the lane busy, and what waits or goes beside it."""
    found = await session.scalars(
        select(DeploymentRow)
        .where(
            DeploymentRow.tenant == tenant,
            DeploymentRow.environment == environment,
            DeploymentRow.phase.not_in(TERMINAL_PHASES),
        )
        .options(defer(DeploymentRow.plan))
        .order_by(DeploymentRow.created_at, DeploymentRow.id)
    )
    rows = list(found)
    rollout = next((row for row in rows if row.phase != Phase.QUEUED and row.beside is None), None)
    return rollout, [row for row in rows if row is not rollout]


def _is_late(row: DeploymentRow, rollout: DeploymentRow | None) -> bool:
    """Whether it was to go beside a rollout that is over."""
    waits = row.beside is not None and row.phase == Phase.QUEUED
    return waits and (rollout is None or row.beside != rollout.id)


def _goes_forward(rollout: DeploymentRow) -> bool:
    """Whether its plan says which nodes it concerns, and it takes nothing back that counts as current."""
    undoes = rollout.rolls_back is not None or (rollout.strategy or {}).get("kind") == UNDO
    return rollout.plan_digest is not None and not rollout.catch_up and not undoes


async def _reported(
    session: AsyncSession, tenant: str, environment: str, beside: str | None
) -> dict[str, dict[str, list[str]]]:
    """The due nodes that report, each with the version of every module that it runs, and what runs beside.

    None that the rollout has in its plan `beside` which they would be caught up.
    """
    concerned = select(DeploymentNodeRow.node).where(
        DeploymentNodeRow.tenant == tenant, DeploymentNodeRow.deployment == beside
    )
    age = func.extract("epoch", func.now() - NodeRow.last_seen)
    rows = await session.execute(
        select(NodeRow.name, NodeRow.report)
        .where(
            NodeRow.tenant == tenant,
            NodeRow.environment == environment,
            NodeRow.quarantine.is_(None),
            NodeRow.last_seen > NodeRow.due_since,
            age < _FRESH,
            NodeRow.name.not_in(concerned),
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
    rows = await session.execute(
        select(DeploymentRow.module, DeploymentRow.version)
        .where(
            DeploymentRow.tenant == tenant,
            DeploymentRow.environment == environment,
            DeploymentRow.phase == Phase.COMPLETED,
            DeploymentRow.catch_up.is_(False),
            ~taken_back(DeploymentRow),
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
    *,
    beside: str | None,
) -> str:
    module, version = release
    deployment = secrets.token_hex(8)
    where = "what is current" if beside is None else f"what is stable, beside deployment {beside}"
    await deployments.insert(
        session,
        tenant,
        deployment=deployment,
        environment=environment,
        module=module,
        version=version,
        requester=REQUESTER,
        description=f"brings {', '.join(nodes[:20])} to {where}",
        only_nodes=tuple(nodes),
        catch_up=True,
        beside=beside,
    )
    return deployment
