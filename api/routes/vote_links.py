"""The page behind a link that casts one vote. Looking at it decides nothing: only its button, a POST, does.

So mail scanners and previews that follow links cannot vote. The page has no script, loads nothing, is
not cached, and does not tell the next page where it came from.
"""

from html import escape
from http import HTTPStatus
from typing import Annotated, Final

from fastapi import APIRouter, Form, Query
from fastapi.responses import HTMLResponse

from api.access import OPEN
from api.audit import record_link_vote
from api.links import PREFIX
from api.services import Hands, Services
from api.votes import deciding, open_poll, send, sign
from domain.audit import AuditCategory, AuditNote
from domain.delegation import LinkClaims
from domain.errors import Conflict, Unauthenticated
from domain.vote import COMMENT_LIMIT, Decision
from store import tenants
from store.records import StoredPoll

router = APIRouter(prefix="/votes", tags=["approvals"], dependencies=[OPEN])
PATH: Final = f"{PREFIX}/votes"

Token = Annotated[str, Query(max_length=8192)]
_HEADERS: Final = {
    "Cache-Control": "no-store",
    "Referrer-Policy": "no-referrer",
    "X-Robots-Tag": "noindex",
    "Content-Security-Policy": "default-src 'none'; form-action 'self'; frame-ancestors 'none'",
}
_VERBS: Final = {Decision.APPROVE: "Approve", Decision.REJECT: "Reject"}


@router.get("", response_class=HTMLResponse)
async def show(token: Token, hands: Hands) -> HTMLResponse:
    """What the link would decide. Nothing is decided by looking."""
    claims = _claims(hands, token)
    stored = await _usable(hands, claims)
    poll = stored.poll
    facts = [
        ("what", stored.request.subject.words),
        ("kind", f"{stored.request.subject.kind} {stored.request.subject.reference}"),
        ("digest", poll.plan),
        ("requested by", ", ".join(poll.authors)),
        ("still missing", poll.waits_for),
        ("you vote as", f"{claims.delegate}, for {claims.subject}"),
    ]
    rows = "".join(f"<tr><th align=left>{name}</th><td>{escape(value)}</td></tr>" for name, value in facts)
    form = (
        f'<form method="post" action="{PATH}"><input type="hidden" name="token" value="{escape(token)}">'
        f'<p><label>Comment <input name="comment" maxlength="{COMMENT_LIMIT}" size="60"></label></p>'
        f"<p><button>{_VERBS[claims.decision]}</button></p></form>"
    )
    return _page(f"{_VERBS[claims.decision]} {stored.request.rule.name}?", f"<table>{rows}</table>{form}")


@router.post("", response_class=HTMLResponse, status_code=HTTPStatus.ACCEPTED)
async def cast(
    token: Annotated[str, Form(max_length=8192)],
    hands: Hands,
    comment: Annotated[str, Form(max_length=COMMENT_LIMIT)] = "",
) -> HTMLResponse:
    """Cast the vote of the link: once."""
    claims = _claims(hands, token)
    stored = await _usable(hands, claims)
    signed = sign(
        hands,
        claims.tenant,
        stored,
        await deciding(hands, claims.tenant, claims.subject),
        decision=claims.decision,
        comment=comment,
        delegate=claims.delegate,
        delegation=claims.token_id,
    )
    note = AuditNote(
        actor=claims.delegate,
        action="vote.sent",
        category=AuditCategory.APPROVAL,
        subject="approval",
        subject_id=stored.id,
        reason=comment,
        after={"decision": claims.decision, "on_behalf_of": claims.subject, "link": claims.token_id},
    )
    await record_link_vote(hands, claims.tenant, note)
    await send(hands, stored.id, claims.decision, signed.ballot)
    said = f"The vote to {claims.decision} is on its way, as {claims.delegate} for {claims.subject}."
    return _page("Thank you", f"<p>{escape(said)}</p>", HTTPStatus.ACCEPTED)


def _claims(hands: Services, token: str) -> LinkClaims:
    """What the link says.

    Raises:
        Unauthenticated: it is none of ours, or too old.
    """
    try:
        return hands.reader.link(token)
    except Unauthenticated as error:
        raise Unauthenticated(f"this link is not good (any more): {error.message}", field="token") from error


async def _usable(hands: Services, claims: LinkClaims) -> StoredPoll:
    """The gate of the link, if the link can still decide there.

    Raises:
        Conflict: the gate is closed, what it decides has changed, or the link was used.
        TenantSuspended, TenantUnavailable: the tenant's requests are refused, this one too.
    """
    async with hands.database.transaction(claims.tenant) as session:
        await tenants.require_open(session, claims.tenant)
    stored = await open_poll(hands, claims.tenant, claims.gate)
    if stored.poll.plan != claims.plan:
        raise Conflict("what this link was made for has changed since: ask for a new one", field="token")
    if claims.token_id in [vote.delegation for vote in stored.poll.votes]:
        raise Conflict("this link was used", field="token")
    return stored


def _page(title: str, body: str, status: HTTPStatus = HTTPStatus.OK) -> HTMLResponse:
    head = f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{escape(title)}</title>'
    return HTMLResponse(f"{head}<h1>{escape(title)}</h1>{body}</html>", status, headers=_HEADERS)
