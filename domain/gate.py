"""Gates: who voted, which votes count, and what they come to.

A vote arrives as a signal that anyone with access to Temporal can send, so what it says of its sender is
worth nothing. What counts is a token: minted by the API for a signed-in person, bound to this gate, this
decision and this subject (the plan's digest), usable once. Unsigned votes may stop a rollout; they
advance one only where the environment's policy says so.
"""

from enum import StrEnum

from pydantic import Field

from domain.base import Frozen
from domain.policy import GateRule
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
    """Why a vote does not count."""

    MALFORMED = "malformed"
    UNKNOWN_SIGNAL = "unknown-signal"
    FORGED_TOKEN = "forged-token"  # noqa: S105 - a reason, not a secret
    EXPIRED_TOKEN = "expired-token"  # noqa: S105
    WRONG_GATE = "wrong-gate"
    STALE_PLAN = "stale-plan"
    TOKEN_USED = "token-used"  # noqa: S105
    TOKEN_REQUIRED = "token-required"  # noqa: S105
    ROLE = "role"
    REQUESTER = "requester"
    DUPLICATE = "duplicate"
    CLOSED = "closed"


class Ballot(Frozen):
    """The one JSON argument of the approve and reject signals. All of it is what the sender claims."""

    approver: str = Field(default="", max_length=200)
    decision: Decision | None = None
    comment: str = Field(default="", max_length=COMMENT_LIMIT)
    token: str | None = Field(default=None, max_length=8192)


class Claims(Frozen):
    """What a vote token says, after its signature was checked."""

    subject: str
    role: Role
    gate: str
    plan: str
    decision: Decision
    token_id: str


class Vote(Frozen):
    """A vote that counts."""

    voter: str
    decision: Decision
    comment: str
    trust: Trust
    token_id: str | None
    at: float


class RefusedVote(Frozen):
    """A vote that does not count, kept and shown: who claimed to send it, and why it is void."""

    claimed: str
    reason: Refusal
    at: float


class GateResult(StrEnum):
    """How a gate ends."""

    APPROVED = "approved"
    REJECTED = "rejected"
    EXPIRED = "expired"


class Poll(Frozen):
    """One gate and its votes so far.

    `plan` is the digest that votes bind to; `requester` asked for the deployment.
    """

    gate: str
    rule: GateRule
    plan: str
    requester: str
    unsigned_votes: bool
    votes: tuple[Vote, ...] = ()
    refused: tuple[RefusedVote, ...] = ()

    def refuse(self, claimed: str, reason: Refusal, at: float) -> "Poll":
        """The poll with one more vote that does not count."""
        refusal = RefusedVote(claimed=claimed[:200], reason=reason, at=at)
        return self.model_copy(update={"refused": (*self.refused, refusal)})

    def cast(self, ballot: Ballot, decision: Decision, claims: Claims | None, at: float) -> "Poll":
        """The poll after a ballot: counted, or refused with the reason.

        Args:
            ballot: what was sent.
            decision: the signal's own name decides: approve or reject.
            claims: of the ballot's token, when it carries a valid one.
            at: when, seconds since the epoch.
        """
        claimed = claims.subject if claims else ballot.approver
        reason = self._objection(claimed, decision, claims)
        if reason is not None:
            return self.refuse(claimed, reason, at)
        vote = Vote(
            voter=claimed or "anonymous",
            decision=decision,
            comment=ballot.comment,
            trust=Trust.SIGNED if claims else Trust.UNVERIFIED,
            token_id=claims.token_id if claims else None,
            at=at,
        )
        return self.model_copy(update={"votes": (*self.votes, vote)})

    def _objection(self, voter: str, decision: Decision, claims: Claims | None) -> Refusal | None:
        if claims is not None and (reason := self._token_objection(decision, claims)) is not None:
            return reason
        if decision is Decision.REJECT:
            return None
        if claims is None and not self.unsigned_votes:
            return Refusal.TOKEN_REQUIRED
        if self.rule.exclude_requester and voter == self.requester:
            return Refusal.REQUESTER
        if any(vote.voter == voter for vote in self.votes):
            return Refusal.DUPLICATE
        return None

    def _token_objection(self, decision: Decision, claims: Claims) -> Refusal | None:
        if claims.gate != self.gate or claims.decision is not decision:
            return Refusal.WRONG_GATE
        if claims.plan != self.plan:
            return Refusal.STALE_PLAN
        if any(vote.token_id == claims.token_id for vote in self.votes):
            return Refusal.TOKEN_USED
        if not claims.role.includes(self.rule.role):
            return Refusal.ROLE
        return None

    @property
    def approvals(self) -> int:
        """How many people have approved."""
        return sum(vote.decision is Decision.APPROVE for vote in self.votes)

    @property
    def result(self) -> GateResult | None:
        """Rejected by the first rejection, approved by the quorum; None while it waits."""
        if any(vote.decision is Decision.REJECT for vote in self.votes):
            return GateResult.REJECTED
        return GateResult.APPROVED if self.approvals >= self.rule.required else None
