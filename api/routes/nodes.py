"""Nodes: registered, listed, shown, and what they report of themselves."""

import time
from http import HTTPStatus
from typing import Annotated, Final

from fastapi import APIRouter, Query, Response
from pydantic import Field, StringConstraints

from api.access import Caller, Registrar, ReportingNode, Viewer
from api.audit import done
from api.paging import PageOf, PageQuery, cursor_of, name_after
from api.routes.clusters import READ_DEADLINE, MetricsQuery
from api.services import Hands
from api.views.fleet import FleetNode, NodeMetrics
from domain.audit import AuditCategory, AuditNote
from domain.base import Strict
from domain.errors import Forbidden, InvalidInput, NotFound, Unauthenticated
from domain.names import EnvironmentName, NodeName
from domain.node import Address, Label, Node
from domain.wire import NodeReport
from store import audit, nodes, quarantine

router = APIRouter(prefix="/nodes", tags=["nodes"])

_SKEW: Final = 300.0  # seconds that a node's clock may differ before its samples are missed


class NewNode(Strict):
    """A node to make known, or to make known anew; `address` is its agent's URL."""

    name: NodeName
    environment: EnvironmentName
    address: Address
    labels: dict[Label, Label] = Field(default_factory=dict, max_length=64)


class Why(Strict):
    """Why a person quarantines a node, or ends that."""

    reason: Annotated[str, StringConstraints(min_length=1, max_length=1000)]


class NodeQuery(PageQuery):
    """Which nodes to list."""

    environment: EnvironmentName | None = None


class Registered(FleetNode):
    """The node, and the token for its heartbeats. Any earlier token is void."""

    token: str


@router.post(
    "",
    status_code=HTTPStatus.CREATED,
    responses={HTTPStatus.OK: {"model": Registered, "description": "It was known; its token is new."}},
)
async def register(body: NewNode, caller: Registrar, hands: Hands, response: Response) -> Registered:
    """Make a node known, or give a known one a new address, new labels and a new token."""
    hands.settings.where_agents_may_be().require(body.address)
    minted = hands.minter.node(tenant=caller.tenant, node=body.name)
    try:
        async with hands.database.transaction(caller.tenant) as session:
            known = await nodes.find(session, caller.tenant, body.name)
            fresh = await nodes.register(
                session, caller.tenant, Node(**body.model_dump()), token_id=minted.token_id
            )
            stored = await nodes.get(session, caller.tenant, body.name)
            audit.note(session, _registered(caller, known, stored.node))
    except NotFound as error:
        raise InvalidInput(error.message, field=error.field) from error
    if not fresh:
        response.status_code = HTTPStatus.OK
    response.headers["Cache-Control"] = "no-store"
    return Registered(**FleetNode.of(stored).model_dump(), token=minted.token)


def _registered(caller: Caller, known: Node | None, node: Node) -> AuditNote:
    return done(
        caller,
        "node.registered",
        AuditCategory.NODE,
        "node",
        node.name,
        before=known.model_dump(mode="json") if known else None,
        after=node.model_dump(mode="json"),
    )


@router.get("")
async def list_nodes(query: Annotated[NodeQuery, Query()], caller: Viewer, hands: Hands) -> PageOf[FleetNode]:
    """Nodes by name."""
    async with hands.database.transaction(caller.tenant) as session:
        page = await nodes.list_page(
            session,
            caller.tenant,
            environment=query.environment,
            after=name_after(query.cursor),
            limit=query.limit,
        )
    following = cursor_of(page.items[-1].node.name) if page.more else None
    return PageOf(items=[FleetNode.of(node) for node in page.items], next_cursor=following)


@router.get("/{node}")
async def get_node(node: str, caller: Viewer, hands: Hands) -> FleetNode:
    """One node with its last report."""
    async with hands.database.transaction(caller.tenant) as session:
        return FleetNode.of(await nodes.get(session, caller.tenant, node))


@router.get("/{node}/metrics")
async def node_metrics(
    node: str, query: Annotated[MetricsQuery, Query()], caller: Viewer, hands: Hands
) -> NodeMetrics:
    """The samples of the last seconds, read from the node's agent now."""
    async with hands.database.transaction(caller.tenant) as session:
        address = (await nodes.get(session, caller.tenant, node)).node.address
    agents = hands.agents.of(caller.tenant)
    report = await agents.report(address, deadline=READ_DEADLINE)
    wanted = [module.module for module in report.modules if query.module in (None, module.module)]
    since = time.time() - query.seconds - _SKEW
    found = []
    for module in wanted:
        samples = await agents.samples(address, module, since=since, deadline=READ_DEADLINE)
        recent = tuple(each for each in samples.samples if each.at > samples.now - query.seconds)
        found.append(samples.model_copy(update={"samples": recent}))
    return NodeMetrics(node=node, modules=found)


@router.post("/{node}/quarantine")
async def quarantine_node(node: str, body: Why, caller: Registrar, hands: Hands) -> FleetNode:
    """Have rollouts leave a node alone until it is released."""
    async with hands.database.transaction(caller.tenant) as session:
        await quarantine.by_hand(session, caller.tenant, node, caller.username, body.reason)
        audit.note(
            session,
            done(caller, "node.quarantined", AuditCategory.NODE, "node", node, reason=body.reason),
        )
        return FleetNode.of(await nodes.get(session, caller.tenant, node))


@router.post("/{node}/release")
async def release_node(node: str, body: Why, caller: Registrar, hands: Hands) -> FleetNode:
    """End a node's quarantine: it is caught up with what is current, and rollouts use it again."""
    async with hands.database.transaction(caller.tenant) as session:
        before = await quarantine.lift(session, caller.tenant, node)
        note = done(
            caller, "node.released", AuditCategory.NODE, "node", node, reason=body.reason, before=before
        )
        audit.note(session, note)
        return FleetNode.of(await nodes.get(session, caller.tenant, node))


@router.post("/{node}/remove", status_code=HTTPStatus.NO_CONTENT)
async def remove_node(node: str, body: Why, caller: Registrar, hands: Hands) -> None:
    """Forget a node that has left for good; its token is void. Not while a deployment is changing it."""
    async with hands.database.transaction(caller.tenant) as session:
        gone = await nodes.remove(session, caller.tenant, node)
        note = done(
            caller,
            "node.removed",
            AuditCategory.NODE,
            "node",
            node,
            reason=body.reason,
            before=gone.model_dump(mode="json"),
        )
        audit.note(session, note)


@router.post("/{node}/heartbeat", status_code=HTTPStatus.NO_CONTENT)
async def heartbeat(node: str, body: NodeReport, claims: ReportingNode, hands: Hands) -> None:
    """Take a node's report of itself, under the node's own token."""
    if not node == claims.subject == body.node:
        raise Forbidden(f"the token is for {claims.subject}, nobody else")
    async with hands.database.transaction(claims.tenant) as session:
        stored = await nodes.get(session, claims.tenant, node)
        if stored.token_id != claims.token_id:
            raise Unauthenticated("the node has a newer token")
        await nodes.seen(session, claims.tenant, node, body)
