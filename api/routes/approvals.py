"""Gates and other requests to people: what waits, votes, and tokens to vote with elsewhere."""

import json
import shlex
from datetime import datetime
from http import HTTPStatus
from typing import Annotated

from fastapi import APIRouter, Query, Response
from pydantic import BaseModel, StringConstraints

from api.access import Approver, Caller, Viewer
from api.audit import record
from api.paging import PageOf, PageQuery, cursor_of, time_and_names
from api.services import Hands, Services
from api.views.gate import GateView
from api.votes import open_poll, person_of, poll_of, said, send, sign
from domain.base import Strict
from domain.vote import COMMENT_LIMIT, Ballot, Decision
from store import polls

router = APIRouter(prefix="/approvals", tags=["approvals"])

Comment = Annotated[str, StringConstraints(max_length=COMMENT_LIMIT)]


class Opinion(Strict):
    """Why."""

    comment: Comment = ""


class TokenOrder(Strict):
    """Which vote the token is for."""

    decision: Decision
    comment: Comment = ""


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
    return GateView.of(await poll_of(hands, caller.tenant, approval), hands.settings)


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
    stored = await open_poll(hands, caller.tenant, approval)
    voter = await person_of(hands, caller)
    signed = sign(hands, caller.tenant, stored, voter, decision=body.decision, comment=body.comment)
    await record(hands, caller, said(caller, "vote-token.minted", stored.id, signed.ballot))
    response.headers["Cache-Control"] = "no-store"
    return Ticket(
        token=signed.minted.token,
        expires_at=signed.minted.expires,
        signal=signed.ballot,
        command=_command(hands, stored.id, body.decision, signed.ballot),
    )


async def _vote(hands: Services, caller: Caller, approval: str, decision: Decision, comment: str) -> VoteSent:
    """Send the same signal that the console would; a vote that cannot count is refused at once."""
    stored = await open_poll(hands, caller.tenant, approval)
    voter = await person_of(hands, caller)
    signed = sign(hands, caller.tenant, stored, voter, decision=decision, comment=comment)
    await record(hands, caller, said(caller, "vote.sent", stored.id, signed.ballot))
    await send(hands, stored.id, decision, signed.ballot)
    return VoteSent(id=stored.id, decision=decision, approver=caller.username)


def _command(hands: Services, approval: str, decision: Decision, ballot: Ballot) -> str:
    settings = hands.settings
    parts = ["temporal", "workflow", "signal", "--address", settings.temporal_address]
    parts += ["--namespace", settings.temporal_namespace, "--workflow-id", approval]
    parts += ["--name", decision, "--input", json.dumps(ballot.model_dump(mode="json"), ensure_ascii=False)]
    return shlex.join(parts)
