"""Handing one's vote on: to a person who signs in, or as a link that takes one vote without a login."""

import secrets
import time
from datetime import datetime, timedelta
from http import HTTPStatus
from typing import Annotated, Final
from urllib.parse import quote

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel, Field, StringConstraints

from api.access import Approver, Caller, Viewer
from api.audit import done, record
from api.routes.approvals import Comment, VoteSent
from api.routes.vote_links import PATH as VOTE_PAGE
from api.services import Hands, Services
from api.votes import deciding, open_poll, person_of, refused, said, send, sign
from domain.audit import AuditCategory
from domain.base import Strict
from domain.delegation import Delegation, DelegationKind, DelegationOrder
from domain.errors import Forbidden, InvalidInput
from domain.names import Username
from domain.permissions import Permission
from domain.vote import Decision
from runtime.tokens import LONGEST_LINK_LIFE
from store import users
from store.records import StoredPoll

router = APIRouter(prefix="/approvals", tags=["approvals"])

_DAY: Final = 86400.0


class NewDelegation(Strict):
    """Who may cast the vote instead."""

    to: Username


class NewLink(Strict):
    """For whom the link is, which vote it casts, and for how many seconds it is good."""

    to: Annotated[str, StringConstraints(min_length=1, max_length=100, strip_whitespace=True)]
    decision: Decision
    expires_in: Annotated[float, Field(ge=60, le=LONGEST_LINK_LIFE.total_seconds())] = _DAY


class DelegatedVote(Strict):
    """A vote for somebody who has handed it on."""

    on_behalf_of: Username
    decision: Decision
    comment: Comment = ""


class Delegated(BaseModel):
    """The vote is handed on; its owner can not cast it any more once it is used."""

    id: str
    approval: str
    delegator: str
    delegate: str


class Link(Delegated):
    """A link that casts one vote. Whoever has it may use it, once."""

    url: str
    decision: Decision
    expires_at: datetime


@router.post("/{approval}/delegations", status_code=HTTPStatus.ACCEPTED)
async def delegate(approval: str, body: NewDelegation, caller: Approver, hands: Hands) -> Delegated:
    """Let another user cast this vote, signed in as himself."""
    stored = await open_poll(hands, caller.tenant, approval)
    async with hands.database.transaction(caller.tenant) as session:
        if await users.find(session, caller.tenant, body.to) is None:
            raise InvalidInput(f"no user {body.to!r}", field="to")
    given = await _delegation(hands, caller, stored, kind=DelegationKind.PERSON, delegate=body.to)
    await _hand_on(hands, caller, given)
    return Delegated(id=given.id, approval=approval, delegator=given.delegator, delegate=given.delegate)


@router.post("/{approval}/links", status_code=HTTPStatus.ACCEPTED)
async def make_link(
    approval: str, body: NewLink, caller: Approver, hands: Hands, *, request: Request, response: Response
) -> Link:
    """A link that lets somebody cast this vote without a login: once, this decision about this plan only."""
    stored = await open_poll(hands, caller.tenant, approval)
    given = await _delegation(
        hands, caller, stored, kind=DelegationKind.LINK, delegate=body.to, decision=body.decision
    )
    given = given.model_copy(update={"expires": time.time() + body.expires_in})
    minted = hands.minter.link(given, tenant=caller.tenant, life=timedelta(seconds=body.expires_in))
    await _hand_on(hands, caller, given)
    response.headers["Cache-Control"] = "no-store"
    base = str(request.base_url).rstrip("/")
    return Link(
        id=given.id,
        approval=approval,
        delegator=given.delegator,
        delegate=given.delegate,
        url=f"{base}{VOTE_PAGE}?token={quote(minted.token)}",
        decision=body.decision,
        expires_at=minted.expires,
    )


@router.post("/{approval}/delegated", status_code=HTTPStatus.ACCEPTED)
async def vote_for(approval: str, body: DelegatedVote, caller: Viewer, hands: Hands) -> VoteSent:
    """Cast the vote of somebody who has handed it on to the caller; with a key, one that may vote."""
    if caller.scopes is not None and Permission.APPROVE not in caller.scopes:
        raise Forbidden(f"this is a vote: the key's scopes lack {Permission.APPROVE}")
    stored = await open_poll(hands, caller.tenant, approval)
    given = next(
        (
            each
            for each in stored.poll.delegations
            if each.kind is DelegationKind.PERSON
            and (each.delegator, each.delegate) == (body.on_behalf_of, caller.username)
        ),
        None,
    )
    if given is None:
        raise Forbidden(f"{body.on_behalf_of} has not handed a vote on to {caller.username} here")
    owner = await deciding(hands, caller.tenant, given.delegator)
    signed = sign(
        hands,
        caller.tenant,
        stored,
        owner,
        decision=body.decision,
        comment=body.comment,
        delegate=caller.username,
        delegation=given.id,
    )
    await record(hands, caller, said(caller, "vote.sent", stored.id, signed.ballot))
    await send(hands, stored.id, body.decision, signed.ballot)
    return VoteSent(id=stored.id, decision=body.decision, approver=caller.username)


async def _delegation(
    hands: Services,
    caller: Caller,
    stored: StoredPoll,
    *,
    kind: DelegationKind,
    delegate: str,
    decision: Decision | None = None,
) -> Delegation:
    """The delegation, if it counts.

    Raises:
        Forbidden: the gate's rule does not let this person, or the one he means, approve.
        Conflict: the vote is given already.
    """
    owner = await person_of(hands, caller)
    given = Delegation(
        id=secrets.token_urlsafe(16),
        kind=kind,
        delegator=owner.username,
        role=owner.role,
        groups=owner.groups,
        delegate=delegate,
        gate=stored.poll.gate,
        plan=stored.poll.plan,
        decision=decision,
    )
    reason = stored.poll.delegation_objection(given)
    if reason is not None:
        raise refused(f"a vote by {delegate} for {owner.username}", reason)
    return given


async def _hand_on(hands: Services, caller: Caller, given: Delegation) -> None:
    """Send the delegation to the gate; its own token is no link and casts no vote."""
    after = {"delegate": given.delegate, "kind": given.kind, "decision": given.decision}
    note = done(caller, "vote.delegated", AuditCategory.APPROVAL, "approval", given.gate, after=after)
    await record(hands, caller, note)
    token = hands.minter.delegation(given, tenant=caller.tenant).token
    await send(hands, given.gate, "delegate", DelegationOrder(token=token))
