"""What the API itself puts into the audit trail: orders that it passes on, and requests that it refused."""

import logging
from http import HTTPStatus
from typing import Any, Final

from sqlalchemy.exc import SQLAlchemyError
from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.access import Caller
from api.services import Services, services_of
from domain.audit import AuditCategory, AuditNote, AuditOutcome
from store import audit

_log = logging.getLogger(__name__)
LONGEST_ROUTE: Final = 400  # characters
_SAFE: Final = ("GET", "HEAD", "OPTIONS")


def done(
    caller: Caller,
    action: str,
    category: AuditCategory,
    subject: str,
    subject_id: str,
    *,
    reason: str = "",
    before: Any = None,
    after: Any = None,
) -> AuditNote:
    """The entry for something that this person does now."""
    return AuditNote(
        actor=caller.username,
        action=action,
        category=category,
        subject=subject,
        subject_id=subject_id,
        reason=reason,
        before=before,
        after=after,
    )


def of_person(caller: Caller, action: str, username: str, **more: Any) -> AuditNote:
    """The entry for something that is done to a person's account."""
    return done(caller, action, AuditCategory.PEOPLE, "user", username, **more)


def of_sign_in(
    username: str, action: str, outcome: AuditOutcome = AuditOutcome.DONE, *, after: Any = None
) -> AuditNote:
    """The entry for somebody who says that this is his name."""
    return AuditNote(
        actor=username,
        action=action,
        category=AuditCategory.SIGN_IN,
        subject="user",
        subject_id=username,
        outcome=outcome,
        after=after,
    )


async def record(hands: Services, caller: Caller, note: AuditNote) -> None:
    """Write an entry by itself, before an order leaves for a workflow: none goes unrecorded."""
    async with hands.database.transaction(caller.tenant) as session:
        audit.note(session, note)


async def record_link_vote(hands: Services, tenant: str, note: AuditNote) -> None:
    """The same for somebody who is not signed in, but holds a link of ours."""
    async with hands.database.transaction(tenant) as session:
        audit.note(session, note)


class Recorder:
    """Sees to it that no command of a person's goes unrecorded: what left no entry of its own gets one here.

    It is written before the answer begins; if it cannot be, the answer is an error.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one connection."""
        if scope["type"] != "http" or scope["method"] in _SAFE:
            await self._app(scope, receive, send)
            return
        written: list[str] = []

        async def send_recorded(message: Message) -> None:
            if message["type"] == "http.response.start" and message["status"] < HTTPStatus.BAD_REQUEST:
                await _record_request(Request(scope), written)
            await send(message)

        kept = audit.WRITTEN.set(written)
        try:
            await self._app(scope, receive, send_recorded)
        finally:
            audit.WRITTEN.reset(kept)


async def _record_request(request: Request, written: list[str]) -> None:
    caller = getattr(request.state, "caller", None)
    if isinstance(caller, Caller) and not written:
        note = done(caller, "request.done", AuditCategory.TENANT, "route", _route(request))
        await record(services_of(request), caller, note)


def _route(request: Request) -> str:
    """What was asked for: as much as the index over subjects takes, however long a name somebody sends."""
    return f"{request.method} {request.url.path}"[:LONGEST_ROUTE]


async def record_refusal(request: Request, status: HTTPStatus, code: str) -> None:
    """Write down that a signed-in person was refused a command, or was not allowed to look."""
    caller = getattr(request.state, "caller", None)
    counts = request.method not in _SAFE or status is HTTPStatus.FORBIDDEN
    if not isinstance(caller, Caller) or not counts:
        return
    note = AuditNote(
        actor=caller.username,
        action="request.refused",
        category=AuditCategory.TENANT,
        subject="route",
        subject_id=_route(request),
        outcome=AuditOutcome.REFUSED,
        reason=code,
        after={"status": status.value},
    )
    try:
        await record(services_of(request), caller, note)
    except SQLAlchemyError as error:  # the answer is a refusal all the same
        _log.error("refusal not recorded: %s", error)
