"""Amending a deployment under way: looked at first, ordered, and what became of it."""

from http import HTTPStatus
from typing import Annotated

from fastapi import APIRouter
from pydantic import StringConstraints

from api.access import Caller, Deployer, Viewer
from api.routes.commands import send
from api.services import Hands, Services
from api.views.amendment import AmendmentPreview, Amendments, AmendmentView
from domain.amendment import Changes, amended
from domain.command import CommandBody, CommandName
from domain.deployment import Phase
from domain.eligibility import check_gates
from domain.errors import NotAmendable
from domain.names import deployment_workflow_id
from store import amendments, deployments, groups

router = APIRouter(prefix="/deployments", tags=["deployments"])


class NewAmendment(Changes):
    """What to change of the steps that have not begun, and why."""

    reason: Annotated[str, StringConstraints(max_length=1000)] = ""

    @property
    def changes(self) -> Changes:
        """Without the reason."""
        return Changes.model_validate(self.model_dump(exclude={"reason"}))


@router.post("/{deployment}/amend/plan")
async def plan_amendment(
    deployment: str, body: NewAmendment, caller: Deployer, hands: Hands
) -> AmendmentPreview:
    """What the amendment would make of the plan now, and whether people would have to approve it."""
    return await _looked_at(hands, caller, deployment, body.changes)


@router.post("/{deployment}/amend", status_code=HTTPStatus.ACCEPTED)
async def amend(deployment: str, body: NewAmendment, caller: Deployer, hands: Hands) -> AmendmentPreview:
    """Change the plan of a deployment under way.

    What narrows it holds from the next step on. What widens it waits for people's approval, and the present
    plan goes on meanwhile; it lapses when the rollout comes to what it changes. An amendment that waits
    gives way to a later one.
    """
    preview = await _looked_at(hands, caller, deployment, body.changes)
    order = CommandBody(actor=caller.username, reason=body.reason, changes=body.changes)
    await send(hands, caller, deployment, CommandName.AMEND, order, to=deployment_workflow_id(deployment))
    return preview


@router.get("/{deployment}/amendments")
async def list_amendments(deployment: str, caller: Viewer, hands: Hands) -> Amendments:
    """What was amended, by whom and why, what it changed, and what became of it."""
    async with hands.database.transaction(caller.tenant) as session:
        await deployments.get(session, caller.tenant, deployment)
        found = await amendments.of_deployment(session, caller.tenant, deployment)
    return Amendments(items=[AmendmentView.of(each) for each in found])


async def _looked_at(hands: Services, caller: Caller, deployment: str, changes: Changes) -> AmendmentPreview:
    """What would become of the plan.

    Raises:
        NotFound: no such deployment of the caller's tenant.
        NotAmendable: it has no plan, or is over or turning back, or nothing would change.
        PlanImpossible: there can be no such plan, or nobody could pass its gates.
    """
    async with hands.database.transaction(caller.tenant) as session:
        stored = await deployments.get(session, caller.tenant, deployment)
        people = await groups.people(session, caller.tenant)
    if stored.plan is None or stored.phase.terminal or stored.phase is Phase.ROLLING_BACK:
        raise NotAmendable(f"deployment {deployment} is {stored.phase}: there is nothing to amend")
    preview = AmendmentPreview.of(stored.plan, amended(stored.plan, stored.step or 0, changes))
    check_gates(
        (*changes.gates, *([preview.approval] if preview.approval else [])),
        people,
        authors=(stored.requester, caller.username),
        unsigned_votes=stored.plan.unsigned_votes,
    )
    return preview
