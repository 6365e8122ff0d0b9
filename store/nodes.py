"""The inventory: nodes, where their agents listen, and what they last reported."""

from collections.abc import Iterable

from sqlalchemy import Float, Select, cast, delete, extract, func, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from domain.deployment import TERMINAL_PHASES
from domain.errors import Conflict, NotFound
from domain.node import Node
from domain.wire import NodeReport
from store import quotas
from store.records import Page, Quarantine, StoredNode
from store.rows import environment_row
from store.tables import DeploymentNodeRow, DeploymentRow, NodeRow


async def of_environment(session: AsyncSession, tenant: str, environment: str) -> list[Node]:
    """The nodes of an environment, by name."""
    rows = await session.scalars(
        select(NodeRow)
        .where(NodeRow.tenant == tenant, NodeRow.environment == environment)
        .order_by(NodeRow.name)
    )
    return [_node(row) for row in rows]


async def get(session: AsyncSession, tenant: str, node: str) -> StoredNode:
    """One node with its last report.

    Raises:
        NotFound: no such node of this tenant.
    """
    found = (await session.execute(_with_age().where(NodeRow.tenant == tenant, NodeRow.name == node))).first()
    if found is None:
        raise NotFound(f"no node {node!r}")
    return _stored(*found)


async def find(session: AsyncSession, tenant: str, node: str) -> Node | None:
    """What is known of a node, if anything is; its row is locked until the transaction ends."""
    row = await session.get(NodeRow, (tenant, node), with_for_update=True)
    return _node(row) if row is not None else None


async def list_page(
    session: AsyncSession,
    tenant: str,
    *,
    environment: str | None = None,
    after: str | None = None,
    limit: int = 20,
) -> Page[StoredNode]:
    """Nodes by name; `after` is the name of the last one seen."""
    statement = _with_age().where(NodeRow.tenant == tenant)
    if environment is not None:
        statement = statement.where(NodeRow.environment == environment)
    if after is not None:
        statement = statement.where(NodeRow.name > after)
    found = [
        _stored(*row) for row in await session.execute(statement.order_by(NodeRow.name).limit(limit + 1))
    ]
    return Page(items=tuple(found[:limit]), more=len(found) > limit)


async def stored_of_environment(session: AsyncSession, tenant: str, environment: str) -> list[StoredNode]:
    """The nodes of an environment with their last reports, by name."""
    statement = _with_age().where(NodeRow.tenant == tenant, NodeRow.environment == environment)
    return [_stored(*row) for row in await session.execute(statement.order_by(NodeRow.name))]


async def by_environment(session: AsyncSession, tenant: str) -> dict[str, list[StoredNode]]:
    """All nodes with their last reports, by environment and name; one without nodes is not there."""
    found: dict[str, list[StoredNode]] = {}
    for row in await session.execute(_with_age().where(NodeRow.tenant == tenant).order_by(NodeRow.name)):
        node = _stored(*row)
        found.setdefault(node.node.environment, []).append(node)
    return found


async def addresses(session: AsyncSession, tenant: str, names: Iterable[str]) -> dict[str, str]:
    """The agents' URLs by node; a node that is not there is left out."""
    rows = await session.execute(
        select(NodeRow.name, NodeRow.address).where(NodeRow.tenant == tenant, NodeRow.name.in_(tuple(names)))
    )
    return {row.name: row.address for row in rows}


async def register(session: AsyncSession, tenant: str, node: Node, *, token_id: str | None = None) -> bool:
    """Add a node, or give a known one a new address, new labels and a new token; whether it is new.

    Raises:
        NotFound: no such environment of this tenant.
        Conflict: the node belongs to another environment. It cannot move: fences are counted per
            environment, and a lower one would shut the node to every order.
        QuotaExceeded: the tenant has as many nodes as it may.
    """
    await environment_row(session, tenant, node.environment)
    row = await session.get(NodeRow, (tenant, node.name), with_for_update=True)
    if row is not None and row.environment != node.environment:
        raise Conflict(f"node {node.name!r} belongs to {row.environment!r}", field="environment")
    if row is None:
        await quotas.admit_node(session, tenant)
        session.add(
            NodeRow(
                tenant=tenant,
                name=node.name,
                environment=node.environment,
                address=node.address,
                labels=node.labels,
                token_id=token_id,
                due_since=func.now(),
            )
        )
        await session.flush()
        return True
    row.address, row.labels, row.token_id = node.address, dict(node.labels), token_id
    return False


async def remove(session: AsyncSession, tenant: str, node: str) -> Node:
    """Forget a node that has left its environment for good, and what it was. Records of deployments keep it.

    Raises:
        NotFound: no such node of this tenant.
        Conflict: a deployment that is under way has it in its plan.
    """
    known = (await get(session, tenant, node)).node
    await environment_row(session, tenant, known.environment, lock=True)
    concerned = await session.scalar(
        select(DeploymentRow.id)
        .join(
            DeploymentNodeRow,
            (DeploymentNodeRow.tenant == DeploymentRow.tenant)
            & (DeploymentNodeRow.deployment == DeploymentRow.id),
        )
        .where(
            DeploymentRow.tenant == tenant,
            DeploymentRow.phase.not_in(TERMINAL_PHASES),
            DeploymentNodeRow.node == node,
        )
        .limit(1)
    )
    if concerned is not None:
        raise Conflict(f"deployment {concerned} has {node} in its plan and is not over", field="node")
    await session.execute(delete(NodeRow).where(NodeRow.tenant == tenant, NodeRow.name == node))
    return known


async def seen(session: AsyncSession, tenant: str, node: str, report: NodeReport) -> None:
    """The node has reported.

    Raises:
        NotFound: no such node of this tenant.
    """
    marked = await session.scalar(
        update(NodeRow)
        .where(NodeRow.tenant == tenant, NodeRow.name == node)
        .values(last_seen=func.now(), report=report.model_dump(mode="json"))
        .returning(NodeRow.name)
    )
    if marked is None:
        raise NotFound(f"no node {node!r}")


def _with_age() -> Select[NodeRow, float | None]:
    return select(NodeRow, cast(extract("epoch", func.now() - NodeRow.last_seen), Float))


def _node(row: NodeRow) -> Node:
    return Node(name=row.name, environment=row.environment, address=row.address, labels=row.labels)


def _stored(row: NodeRow, age: float | None) -> StoredNode:
    return StoredNode(
        node=_node(row),
        token_id=row.token_id,
        registered_at=row.registered_at,
        last_seen=row.last_seen,
        age=float(age) if age is not None else None,
        report=NodeReport.model_validate(row.report) if row.report else None,
        quarantine=Quarantine.model_validate(row.quarantine) if row.quarantine else None,
        due_since=row.due_since,
    )
