"""Delegations: an approver lets somebody else cast his vote, at one gate and about one plan.

To a person, who votes signed in; or as a link, which takes one vote without a login. A vote by delegation
counts as the delegator's: it is his one vote, whoever casts it.
"""

from enum import StrEnum

from domain.base import Frozen
from domain.roles import Role
from domain.vote import Claims, Decision


class DelegationKind(StrEnum):
    """How the delegate proves to be the one."""

    PERSON = "person"
    LINK = "link"


class Delegation(Frozen):
    """One vote, handed on.

    Attributes:
        id: unique; a vote by delegation names it, and it is used once.
        kind: to a person who signs in, or a link.
        delegator: whose vote it is, with his role and groups then.
        delegate: who casts it: a user's name, or for a link the name of whom it was made for.
        gate: the gate that it is for, and `plan` the digest.
        decision: the only decision that it allows; None allows both.
        expires: seconds since the epoch; None: with the gate.
    """

    id: str
    kind: DelegationKind
    delegator: str
    role: Role
    groups: tuple[str, ...] = ()
    delegate: str
    gate: str
    plan: str
    decision: Decision | None = None
    expires: float | None = None

    def allows(self, claims: Claims) -> bool:
        """Whether a vote's claims are what was delegated."""
        return (
            claims.subject == self.delegate
            and claims.on_behalf_of == self.delegator
            and self.decision in (None, claims.decision)
        )


class DelegationOrder(Frozen):
    """The one JSON argument of the delegate signal: a token of the API says all of it."""

    token: str | None = None


class LinkClaims(Frozen):
    """What the token in a link says, after its signature was checked; `token_id` is the delegation's id."""

    tenant: str
    subject: str
    delegate: str
    gate: str
    plan: str
    decision: Decision
    token_id: str
