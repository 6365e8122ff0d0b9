"""Votes: what is sent, what its token says, what counts, and why something does not."""

from enum import StrEnum

from pydantic import Field

from domain.base import Frozen
from domain.roles import Role

COMMENT_LIMIT = 1000


class Decision(StrEnum):
    """What a person may say."""

    APPROVE = "approve"
    REJECT = "reject"


class Trust(StrEnum):
    """How sure we are of who voted."""

    SIGNED = "signed"
    UNVERIFIED = "unverified"


class Refusal(StrEnum):
    """Why a vote, or a delegation, does not count."""

    MALFORMED = "malformed"
    UNKNOWN_SIGNAL = "unknown-signal"
    FORGED_TOKEN = "forged-token"  # noqa: S105 - a reason, not a secret
    EXPIRED_TOKEN = "expired-token"  # noqa: S105
    WRONG_GATE = "wrong-gate"
    STALE_PLAN = "stale-plan"
    TOKEN_USED = "token-used"  # noqa: S105
    TOKEN_REQUIRED = "token-required"  # noqa: S105
    ROLE = "role"
    GROUP = "group"
    REQUESTER = "requester"
    DUPLICATE = "duplicate"
    DELEGATION = "delegation"
    CLOSED = "closed"


class Ballot(Frozen):
    """The one JSON argument of the approve and reject signals. All of it is what the sender claims."""

    approver: str = Field(default="", max_length=200)
    decision: Decision | None = None
    comment: str = Field(default="", max_length=COMMENT_LIMIT)
    token: str | None = Field(default=None, max_length=8192)


class Claims(Frozen):
    """What a vote token says, after its signature was checked.

    A vote by delegation has the delegate as its `subject`, the delegator as `on_behalf_of`, and the
    delegator's role and groups.
    """

    subject: str
    role: Role
    groups: tuple[str, ...] = ()
    gate: str
    plan: str
    decision: Decision
    token_id: str
    on_behalf_of: str | None = None
    delegation: str | None = None


class Vote(Frozen):
    """A vote that counts. `plan` is the digest that it was given for."""

    voter: str
    decision: Decision
    comment: str
    trust: Trust
    token_id: str | None
    at: float
    plan: str = ""
    role: Role | None = None
    groups: tuple[str, ...] = ()
    on_behalf_of: str | None = None
    delegation: str | None = None


class RefusedVote(Frozen):
    """A vote that does not count, kept and shown: who claimed to send it, and why it is void."""

    claimed: str
    reason: Refusal
    at: float
