"""Gates: what waits, votes, and tokens to vote with elsewhere."""

import json
import shlex
from datetime import datetime
from http import HTTPStatus
from typing import Annotated

from fastapi import APIRouter, Query, Response
from pydantic import BaseModel, StringConstraints
from temporalio.service import RPCError, RPCStatusCode

from api.access import Approver, Caller, Viewer
from api.audit import done, record
from api.paging import PageOf, PageQuery, cursor_of, time_and_names
from api.services import Hands, Services
from api.views.gate import GateView
from domain.audit import AuditCategory, AuditNote
from domain.base import Strict
from domain.errors import Conflict, Forbidden
from domain.gate import COMMENT_LIMIT, Ballot, Claims, Decision, Refusal
from runtime.tokens import Minted
from store import polls
from store.records import StoredPoll

router = APIRouter(prefix="/approvals", tags=["approvals"])

_NEVER = (Refusal.REQUESTER, Refusal.ROLE)


class Opinion(Strict):
    """Why."""

    comment: Annotated[str, StringConstraints(max_length=COMMENT_LIMIT)] = ""


class TokenOrder(Strict):
    """Which vote the token is for."""

    decision: Decision
    comment: Annotated[str, StringConstraints(max_length=COMMENT_LIMIT)] = ""


class VoteSent(BaseModel):
    """The vote is on its way to the gate."""

    id: str
    decision: Decision
    approver: str


class Ticket(BaseModel):
    """A token for one vote, the signal's argument that carries it, and the command that sends it."""

    token: str
    expires_at: datetime
    signal: Ballot
    command: str


@router.get("/pending")
async def pending(query: Annotated[PageQuery, Query()], caller: Viewer, hands: Hands) -> PageOf[GateView]:
    """The gates that wait for people, oldest first."""
    async with hands.database.transaction(caller.tenant) as session:
        page = await polls.pending(
            session, caller.tenant, after=time_and_names(query.cursor, 1), limit=query.limit
        )
    last = page.items[-1] if page.more else None
    return PageOf(
        items=[GateView.of(poll, hands.settings) for poll in page.items],
        next_cursor=cursor_of(last.opened_at, last.id) if last else None,
    )


@router.get("/{approval}")
async def get_approval(approval: str, caller: Viewer, hands: Hands) -> GateView:
    """One gate with its votes, counted and not."""
    return GateView.of(await _poll(hands, caller, approval), hands.settings)


@router.post("/{approval}/approve", status_code=HTTPStatus.ACCEPTED)
async def approve(approval: str, caller: Approver, hands: Hands, body: Opinion = Opinion()) -> VoteSent:
    """Vote for going on."""
    return await _vote(hands, caller, approval, Decision.APPROVE, body.comment)


@router.post("/{approval}/reject", status_code=HTTPStatus.ACCEPTED)
async def reject(approval: str, caller: Approver, hands: Hands, body: Opinion = Opinion()) -> VoteSent:
    """Vote against going on; one such vote is enough."""
    return await _vote(hands, caller, approval, Decision.REJECT, body.comment)


@router.post("/{approval}/token")
async def mint(approval: str, body: TokenOrder, caller: Approver, hands: Hands, response: Response) -> Ticket:
    """A token to vote with from the Temporal console or CLI: once, within ten minutes."""
    stored = await _open_poll(hands, caller, approval)
    minted, ballot = _ballot(hands, caller, stored, body.decision, body.comment)
    await record(hands, caller, _said(caller, "vote-token.minted", stored.id, ballot))
    response.headers["Cache-Control"] = "no-store"
    return Ticket(
        token=minted.token,
        expires_at=minted.expires,
        signal=ballot,
        command=_command(hands, stored.id, body.decision, ballot),
    )


async def _vote(hands: Services, caller: Caller, approval: str, decision: Decision, comment: str) -> VoteSent:
    """Send the same signal that the console would; a vote that cannot count is refused at once."""
    stored = await _open_poll(hands, caller, approval)
    _, ballot = _ballot(hands, caller, stored, decision, comment)
    await record(hands, caller, _said(caller, "vote.sent", stored.id, ballot))
    try:
        await hands.temporal.get_workflow_handle(stored.id).signal(decision, ballot)
    except RPCError as error:
        if error.status is RPCStatusCode.NOT_FOUND:
            raise Conflict(f"{approval} is closed") from error
        raise
    return VoteSent(id=stored.id, decision=decision, approver=caller.username)


def _said(caller: Caller, action: str, approval: str, ballot: Ballot) -> AuditNote:
    after = {"decision": ballot.decision}
    return done(
        caller, action, AuditCategory.APPROVAL, "approval", approval, reason=ballot.comment, after=after
    )


def _ballot(
    hands: Services, caller: Caller, stored: StoredPoll, decision: Decision, comment: str
) -> tuple[Minted, Ballot]:
    """A signed ballot.

    Raises:
        Forbidden: the gate's rule does not let this person vote so.
        Conflict: his vote is there already.
    """
    minted = hands.minter.vote(
        tenant=caller.tenant,
        voter=caller.username,
        role=caller.role,
        gate=stored.poll.gate,
        plan=stored.poll.plan,
        decision=decision,
    )
    ballot = Ballot(approver=caller.username, decision=decision, comment=comment, token=minted.token)
    claims = Claims(
        subject=caller.username,
        role=caller.role,
        gate=stored.poll.gate,
        plan=stored.poll.plan,
        decision=decision,
        token_id=minted.token_id,
    )
    after = stored.poll.cast(ballot, decision, claims, at=0.0)
    if len(after.votes) == len(stored.poll.votes):
        reason = after.refused[-1].reason
        kind = Forbidden if reason in _NEVER else Conflict
        raise kind(f"a vote by {caller.username} does not count here: {reason}")
    return minted, ballot


async def _poll(hands: Services, caller: Caller, approval: str) -> StoredPoll:
    async with hands.database.transaction(caller.tenant) as session:
        return await polls.get(session, caller.tenant, approval)


async def _open_poll(hands: Services, caller: Caller, approval: str) -> StoredPoll:
    stored = await _poll(hands, caller, approval)
    if stored.closed_at is not None:
        raise Conflict(f"{approval} is closed")
    return stored


def _command(hands: Services, approval: str, decision: Decision, ballot: Ballot) -> str:
    settings = hands.settings
    parts = ["temporal", "workflow", "signal", "--address", settings.temporal_address]
    parts += ["--namespace", settings.temporal_namespace, "--workflow-id", approval]
    parts += ["--name", decision, "--input", json.dumps(ballot.model_dump(mode="json"), ensure_ascii=False)]
    return shlex.join(parts)
