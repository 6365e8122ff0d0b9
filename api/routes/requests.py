"""Requests to people that are no deployment's gate: a schema, a freeze override, a hotfix, an amendment."""

import secrets
import time
from http import HTTPStatus
from typing import Annotated

from fastapi import APIRouter, Query, Response
from pydantic import BaseModel, Field, StringConstraints

from api.access import Caller, Deployer, Viewer
from api.audit import done
from api.services import Hands
from api.signals import PATIENCE
from api.views.gate import GateView
from api.votes import poll_of
from domain.approval import ApprovalInput, PollRecord, Subject
from domain.audit import AuditCategory, AuditNote
from domain.base import Strict
from domain.console import clip
from domain.eligibility import check_gates
from domain.errors import InvalidInput, NotFound
from domain.gate_rule import SubjectKind
from domain.names import CONTROL_QUEUE, EnvironmentName, Sha256, approval_id
from store import audit, environments, events, groups, polls
from store.records import StoredEvent

router = APIRouter(prefix="/approvals", tags=["approvals"])


class NewRequest(Strict):
    """What is to be decided. Votes bind to `digest`: SHA-256 of whatever it is.

    Who decides is the environment's policy: its rule for this kind, or one approver who is not the requester.
    """

    kind: SubjectKind
    environment: EnvironmentName
    reference: Annotated[str, StringConstraints(min_length=1, max_length=200, strip_whitespace=True)]
    digest: Sha256
    subject: Annotated[str, StringConstraints(min_length=1, max_length=1000, strip_whitespace=True)]


class Events(BaseModel):
    """What happened, oldest first."""

    items: list[StoredEvent]


class EventQuery(Strict):
    """From which event on."""

    after: int = Field(default=0, ge=0, le=2**62)


@router.post("", status_code=HTTPStatus.CREATED)
async def open_request(body: NewRequest, caller: Deployer, hands: Hands, response: Response) -> GateView:
    """Ask people to decide on something that is no deployment."""
    if body.kind is SubjectKind.DEPLOYMENT:
        raise InvalidInput("a deployment opens its gates itself: POST /deployments", field="kind")
    identity = approval_id(secrets.token_hex(8), body.kind)
    async with hands.database.transaction(caller.tenant) as session:
        try:
            policy = await environments.policy(session, caller.tenant, body.environment)
        except NotFound as error:
            raise InvalidInput(error.message, field="environment") from error
        rule = policy.rule_for(body.kind)
        people = await groups.people(session, caller.tenant)
        check_gates([rule], people, authors=(caller.username,), unsigned_votes=policy.unsigned_votes)
        request = ApprovalInput(
            tenant=caller.tenant,
            environment=body.environment,
            gate=identity,
            rule=rule,
            subject=Subject(kind=body.kind, reference=body.reference, digest=body.digest, words=body.subject),
            requester=caller.username,
            unsigned_votes=policy.unsigned_votes,
        )
        opened = PollRecord(request=request, poll=request.poll(), expires=time.time() + rule.expires_after)
        await polls.save(session, opened)
        audit.note(session, _opened(caller, identity, body))
        # Within the transaction: what cannot be started leaves no row behind.
        await hands.temporal.start_workflow(
            "ApprovalWorkflow",
            request,
            id=identity,
            task_queue=CONTROL_QUEUE,
            static_summary=clip(f"{body.kind}: {body.subject}"),
            rpc_timeout=PATIENCE,
        )
    shown = GateView.of(await poll_of(hands, caller.tenant, identity), hands.settings)
    response.headers["Location"] = shown.links["self"]
    return shown


def _opened(caller: Caller, approval: str, body: NewRequest) -> AuditNote:
    asked = body.model_dump(mode="json", exclude={"subject"})
    return done(
        caller,
        "approval.requested",
        AuditCategory.APPROVAL,
        "approval",
        approval,
        reason=body.subject,
        after=asked,
    )


@router.get("/{approval}/events")
async def events_of(
    approval: str, query: Annotated[EventQuery, Query()], caller: Viewer, hands: Hands
) -> Events:
    """What happened to an approval that is no deployment's; a deployment's own events tell of its gates."""
    async with hands.database.transaction(caller.tenant) as session:
        await polls.get(session, caller.tenant, approval)
        found = await events.after_of_approval(session, caller.tenant, approval, query.after)
    return Events(items=found)
