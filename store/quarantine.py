"""Nodes that rollouts leave alone until a person has looked at them."""

from typing import Any

from sqlalchemy import func, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from domain.console import count
from domain.errors import Conflict, NotFound
from domain.events import EventKind
from domain.messages import QuarantineOrder
from store import events
from store.rows import locked_deployment
from store.tables import NodeRow

BY_HAND = "by-hand"  # the code of a quarantine that a person ordered


async def of_environment(session: AsyncSession, tenant: str, environment: str) -> tuple[str, ...]:
    """The names of the quarantined nodes, in order."""
    found = await session.scalars(
        select(NodeRow.name)
        .where(NodeRow.tenant == tenant, NodeRow.environment == environment, NodeRow.quarantine.is_not(None))
        .order_by(NodeRow.name)
    )
    return tuple(found)


async def take(session: AsyncSession, order: QuarantineOrder) -> None:
    """Quarantine the nodes that a deployment has lost, each with its cause, once per key.

    Raises:
        NotFound: no such deployment of this tenant.
    """
    row = await locked_deployment(session, order.tenant, order.deployment)
    words = "; ".join(f"{each.node}: {each.message}" for each in order.nodes)
    fresh = await events.append(
        session,
        order.tenant,
        order.deployment,
        key=order.key,
        kind=EventKind.NODES_QUARANTINED,
        payload={
            "message": f"{count(len(order.nodes), 'node')} quarantined: {words}"[:2000],
            "nodes": [each.model_dump(mode="json") for each in order.nodes],
            "environment": row.environment,
        },
    )
    if not fresh:
        return
    for each in order.nodes:
        why = {"code": each.code, "message": each.message, "deployment": order.deployment, "actor": None}
        await _quarantine(session, order.tenant, each.node, why)


async def by_hand(session: AsyncSession, tenant: str, node: str, actor: str, reason: str) -> None:
    """Quarantine one node because a person says so.

    Raises:
        NotFound: no such node of this tenant.
        Conflict: it is quarantined already.
    """
    await _locked(session, tenant, node, quarantined=False)
    why = {"code": BY_HAND, "message": reason, "deployment": None, "actor": actor}
    await _quarantine(session, tenant, node, why)


async def lift(session: AsyncSession, tenant: str, node: str) -> dict[str, Any]:
    """Let rollouts use the node again, and have it caught up; what it was quarantined for.

    Raises:
        NotFound: no such node of this tenant.
        Conflict: it is not quarantined.
    """
    row = await _locked(session, tenant, node, quarantined=True)
    why = dict(row.quarantine or {})
    row.quarantine = None
    row.due_since = func.now()
    return why


async def _locked(session: AsyncSession, tenant: str, node: str, *, quarantined: bool) -> NodeRow:
    row = await session.get(NodeRow, (tenant, node), with_for_update=True)
    if row is None:
        raise NotFound(f"no node {node!r}")
    if (row.quarantine is not None) != quarantined:
        raise Conflict(f"node {node!r} is {'not' if quarantined else 'already'} quarantined")
    return row


async def _quarantine(session: AsyncSession, tenant: str, node: str, why: dict[str, Any]) -> None:
    await session.execute(
        update(NodeRow)
        .where(NodeRow.tenant == tenant, NodeRow.name == node, NodeRow.quarantine.is_(None))
        .values(quarantine=why)
    )
