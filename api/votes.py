"""Votes on their way to a gate: checked against what is known, signed, and sent as the signal they are."""

from typing import Any

from api.access import Caller
from api.audit import done
from api.services import Services
from api.signals import signal as send_signal
from domain.audit import AuditCategory, AuditNote
from domain.base import Frozen
from domain.eligibility import Person
from domain.errors import Conflict, Forbidden
from domain.vote import Ballot, Claims, Decision, Refusal
from runtime.tokens import Minted
from store import groups, polls, users
from store.records import StoredPoll

NEVER = (Refusal.REQUESTER, Refusal.ROLE, Refusal.GROUP, Refusal.DELEGATION)


class Signed(Frozen):
    """A token for one vote, and the signal's argument that carries it."""

    minted: Minted
    ballot: Ballot


async def poll_of(hands: Services, tenant: str, approval: str) -> StoredPoll:
    """An approval as it is stored.

    Raises:
        NotFound: no such approval of this tenant.
    """
    async with hands.database.transaction(tenant) as session:
        return await polls.get(session, tenant, approval)


async def open_poll(hands: Services, tenant: str, approval: str) -> StoredPoll:
    """An approval that still waits.

    Raises:
        NotFound: no such approval of this tenant.
        Conflict: it is closed.
    """
    stored = await poll_of(hands, tenant, approval)
    if stored.closed_at is not None:
        raise Conflict(f"{approval} is closed")
    return stored


async def person_of(hands: Services, caller: Caller) -> Person:
    """Whoever asks, with his groups."""
    async with hands.database.transaction(caller.tenant) as session:
        found = await groups.of_person(session, caller.tenant, caller.username)
    return Person(username=caller.username, role=caller.role, groups=found)


def sign(
    hands: Services,
    tenant: str,
    stored: StoredPoll,
    voter: Person,
    *,
    decision: Decision,
    comment: str,
    delegate: str | None = None,
    delegation: str | None = None,
) -> Signed:
    """A signed ballot.

    Args:
        hands: the services.
        tenant: of all this.
        stored: the gate.
        voter: whose vote it is.
        decision: what he says.
        comment: why.
        delegate: who casts it for him, with the id of the `delegation` that says so.
        delegation: see `delegate`.

    Raises:
        Forbidden: the gate's rule does not let this person vote so.
        Conflict: his vote is there already, or what he would decide on has changed.
    """
    said: dict[str, Any] = {
        "role": voter.role,
        "groups": voter.groups,
        "gate": stored.poll.gate,
        "plan": stored.poll.plan,
        "decision": decision,
        "on_behalf_of": voter.username if delegate else None,
        "delegation": delegation,
    }
    name = delegate or voter.username
    minted = hands.minter.vote(tenant=tenant, voter=name, **said)
    claims = Claims(subject=name, token_id=minted.token_id, **said)
    reason = stored.poll.objection(name, decision, claims)
    if reason is not None:
        raise refused(f"a vote by {name}", reason)
    ballot = Ballot(approver=name, decision=decision, comment=comment, token=minted.token)
    return Signed(minted=minted, ballot=ballot)


async def deciding(hands: Services, tenant: str, username: str) -> Person:
    """Whose vote it is that somebody else casts: with the role and the groups that he has now.

    Raises:
        Forbidden: he is not there any more, or disabled.
    """
    async with hands.database.transaction(tenant) as session:
        user = await users.find(session, tenant, username)
        if user is None or user.disabled:
            raise Forbidden(f"{username} may not vote any more")
        return Person(
            username=username, role=user.role, groups=await groups.of_person(session, tenant, username)
        )


def refused(what: str, reason: Refusal) -> Forbidden | Conflict:
    """The error for a vote, or a delegation, that does not count."""
    kind = Forbidden if reason in NEVER else Conflict
    return kind(f"{what} does not count here: {reason}")


async def send(hands: Services, approval: str, signal: str, body: object) -> None:
    """Send a signal to an approval's workflow.

    Raises:
        Conflict: it does not run any more.
    """
    await send_signal(hands.temporal, approval, signal, body, over=f"{approval} is closed")


def said(caller: Caller, action: str, approval: str, ballot: Ballot) -> AuditNote:
    """What the audit trail says of a vote that leaves for its gate."""
    after = {"decision": ballot.decision}
    return done(
        caller, action, AuditCategory.APPROVAL, "approval", approval, reason=ballot.comment, after=after
    )
