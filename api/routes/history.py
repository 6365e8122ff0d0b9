"""What ran in an environment when, and the way back to it."""

import secrets
from http import HTTPStatus
from typing import Annotated

from fastapi import APIRouter, Query, Response
from pydantic import StringConstraints

from api.access import Undoer, Viewer
from api.paging import PageOf, PageQuery, cursor_of, time_and_names
from api.routes.deployments import accepted
from api.services import Hands
from api.views.deployment import DeploymentDetail
from api.views.history import HistoryView
from domain.base import Strict
from domain.errors import InvalidInput, NotFound
from domain.names import EnvironmentName, ModuleName, NodeName, Version
from domain.release import ReleaseRef
from domain.strategy import Undo
from domain.undo import undo_plan
from store import deployments, environments, history, nodes, releases
from store.records import StoredNode

router = APIRouter(tags=["history"])


class HistoryQuery(PageQuery):
    """Of which environment; only of one module, only of one node."""

    environment: EnvironmentName
    module: ModuleName | None = None
    node: NodeName | None = None


class UndoOrder(Strict):
    """Which module goes back to which release, where, and why."""

    module: ModuleName
    environment: EnvironmentName
    to: Version
    reason: Annotated[str, StringConstraints(min_length=1, max_length=1000)]


@router.get("/history")
async def read_history(
    query: Annotated[HistoryQuery, Query()], caller: Viewer, hands: Hands
) -> PageOf[HistoryView]:
    """Every deployment that changed nodes there, newest first: from what to what, by whom, why."""
    async with hands.database.transaction(caller.tenant) as session:
        try:
            await environments.get(session, caller.tenant, query.environment)
        except NotFound as error:
            raise InvalidInput(error.message, field="environment") from error
        page = await history.page(
            session,
            caller.tenant,
            query.environment,
            module=query.module,
            node=query.node,
            before=time_and_names(query.cursor, 1),
            limit=query.limit,
        )
    last = page.items[-1].deployment if page.more else None
    return PageOf(
        items=[HistoryView.of(each) for each in page.items],
        next_cursor=cursor_of(last.created_at, last.id) if last else None,
    )


@router.post("/undo", status_code=HTTPStatus.ACCEPTED)
async def undo(body: UndoOrder, caller: Undoer, hands: Hands, response: Response) -> DeploymentDetail:
    """Go back to an earlier release that ran there: a deployment of its own, without gates or bakes.

    Only nodes that run something else are changed, all at once; each one's present release is recorded, so
    that the undo can itself be taken back.
    """
    record, tenant = secrets.token_hex(8), caller.tenant
    async with hands.database.transaction(tenant) as session:
        try:
            policy = await environments.policy(session, tenant, body.environment)
            release = await releases.get(session, tenant, body.module, body.to)
        except NotFound as error:
            raise InvalidInput(error.message, field=error.field or "to") from error
        if not await history.has_run(session, tenant, body.environment, body.module, body.to):
            words = f"{body.module}@{body.to} has not completed in {body.environment}, or was taken back"
            raise InvalidInput(words, field="to")
        fleet = await nodes.stored_of_environment(session, tenant, body.environment)
        undo_plan(
            tenant=tenant,
            environment=body.environment,
            release=release.ref,
            nodes=[each.node for each in fleet],
            running={each.node.name: _runs(each, body.module) for each in fleet},
            policy=policy,
        )
        await deployments.insert(
            session,
            tenant,
            deployment=record,
            environment=body.environment,
            module=body.module,
            version=body.to,
            requester=caller.username,
            strategy=Undo(),
            description=body.reason,
        )
    return await accepted(hands, caller, record, response)


def _runs(node: StoredNode, module: str) -> ReleaseRef | None:
    modules = node.report.modules if node.report is not None else ()
    return next((each.current for each in modules if each.module == module), None)
