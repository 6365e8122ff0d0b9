"""Orders to a rollback that waits for a person: retry, skip-node, abandon."""

from http import HTTPStatus
from typing import Annotated

from fastapi import APIRouter
from pydantic import StringConstraints

from api.access import Caller, Undoer
from api.routes.commands import send
from api.routes.deployments import shown
from api.services import Hands, Services
from api.views.deployment import DeploymentDetail
from domain.base import Strict
from domain.command import CommandBody, CommandName
from domain.deployment import Phase
from domain.errors import Conflict
from domain.names import NodeName, rollback_id

router = APIRouter(prefix="/deployments/{deployment}/rollback", tags=["deployments"])

Reason = Annotated[str, StringConstraints(max_length=1000)]


class RetryOrder(Strict):
    """Why another set of rounds may help."""

    reason: Reason = ""


class AbandonOrder(Strict):
    """Why the nodes that are not back are left as they are."""

    reason: Annotated[str, StringConstraints(min_length=1, max_length=1000)]


class SkipOrder(AbandonOrder):
    """Which node is given up, and why."""

    node: NodeName


@router.post("/retry", status_code=HTTPStatus.ACCEPTED)
async def retry(
    deployment: str, caller: Undoer, hands: Hands, body: RetryOrder = RetryOrder()
) -> DeploymentDetail:
    """Try all nodes that are not proved to be back once more."""
    return await _order(hands, caller, deployment, CommandName.RETRY, CommandBody(reason=body.reason))


@router.post("/skip-node", status_code=HTTPStatus.ACCEPTED)
async def skip_node(deployment: str, body: SkipOrder, caller: Undoer, hands: Hands) -> DeploymentDetail:
    """Give one node up; it ends as not verified, and the lane is frozen."""
    order = CommandBody(reason=body.reason, node=body.node)
    return await _order(hands, caller, deployment, CommandName.SKIP_NODE, order)


@router.post("/abandon", status_code=HTTPStatus.ACCEPTED)
async def abandon(deployment: str, body: AbandonOrder, caller: Undoer, hands: Hands) -> DeploymentDetail:
    """Give up: what is not back ends as not verified, by name, and the lane is frozen."""
    return await _order(hands, caller, deployment, CommandName.ABANDON, CommandBody(reason=body.reason))


async def _order(
    hands: Services, caller: Caller, deployment: str, command: CommandName, body: CommandBody
) -> DeploymentDetail:
    present = await shown(hands, caller, deployment)
    if present.phase is not Phase.ROLLING_BACK or not present.waiting_for:
        raise Conflict(f"deployment {deployment} is {present.phase}: no rollback waits for a person")
    named = body.model_copy(update={"actor": caller.username})
    await send(hands, caller, deployment, command, named, to=rollback_id(deployment))
    return present
