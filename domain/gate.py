"""Gates: who voted, which votes count, and what they come to.

A vote arrives as a signal that anyone with access to Temporal can send, so what it says of its sender is
worth nothing. What counts is a token: minted by the API for a signed-in person, bound to this gate, this
decision and this subject (the plan's digest), usable once. Unsigned votes may stop a rollout; they
advance one only where the environment's policy says so.
"""

from enum import StrEnum

from pydantic import Field

from domain.base import Frozen
from domain.delegation import Delegation
from domain.gate_rule import GateRule, Missing, Quorum
from domain.names import Sha256
from domain.roles import Role
from domain.vote import Ballot, Claims, Decision, Refusal, RefusedVote, Trust, Vote

KEPT_REFUSALS = 200  # of votes that do not count; older ones are in the events


class GateResult(StrEnum):
    """How a gate ends."""

    APPROVED = "approved"
    REJECTED = "rejected"
    EXPIRED = "expired"


class NewDigest(Frozen):
    """The one JSON argument of the amended signal: what is to be decided has changed, and by whom.

    It only ever voids votes, so it needs no proof of who sends it; a result binds to the digest that it
    names, and whoever asked checks that.
    """

    digest: Sha256
    actor: str = Field(default="", max_length=200)
    reason: str = Field(default="", max_length=1000)


class Poll(Frozen):
    """One gate and its votes so far.

    Attributes:
        plan: the digest that votes bind to.
        requester: who asked; `amended_by` changed afterwards what is asked.
        escalated: the rule's escalation is open too.
        overdue: it has expired, and holds until a person decides.
        voided: votes that counted until the plan was changed.
        reminders: how many were sent.
        revision: grows with every change.
    """

    gate: str
    rule: GateRule
    plan: str
    requester: str
    unsigned_votes: bool
    amended_by: tuple[str, ...] = ()
    escalated: bool = False
    overdue: bool = False
    votes: tuple[Vote, ...] = ()
    voided: tuple[Vote, ...] = ()
    refused: tuple[RefusedVote, ...] = ()
    delegations: tuple[Delegation, ...] = ()
    reminders: int = 0
    revision: int = 0

    def refuse(self, claimed: str, reason: Refusal, at: float) -> "Poll":
        """The poll with one more vote that does not count."""
        refusal = RefusedVote(claimed=claimed[:200], reason=reason, at=at)
        return self._next(refused=(*self.refused, refusal)[-KEPT_REFUSALS:])

    def cast(self, ballot: Ballot, decision: Decision, claims: Claims | None, at: float) -> "Poll":
        """The poll after a ballot: counted, or refused with the reason.

        Args:
            ballot: what was sent.
            decision: the signal's own name decides: approve or reject.
            claims: of the ballot's token, when it carries a valid one.
            at: when, seconds since the epoch.
        """
        claimed = claims.subject if claims else ballot.approver
        reason = self.objection(claimed, decision, claims)
        if reason is not None:
            return self.refuse(claimed, reason, at)
        vote = Vote(
            voter=claimed or "anonymous",
            decision=decision,
            comment=ballot.comment,
            trust=Trust.SIGNED if claims else Trust.UNVERIFIED,
            token_id=claims.token_id if claims else None,
            at=at,
            plan=self.plan,
            role=claims.role if claims else None,
            groups=claims.groups if claims else (),
            on_behalf_of=claims.on_behalf_of if claims else None,
            delegation=claims.delegation if claims else None,
        )
        return self._next(votes=(*self.votes, vote))

    def amend(self, new: NewDigest) -> "Poll":
        """The poll about a changed plan: votes given so far are void; whoever changed it cannot approve."""
        authors = self.amended_by
        if new.actor and new.actor not in self.authors:
            authors = (*authors, new.actor)
        void = self.voided + self.votes
        return self._next(plan=new.digest, amended_by=authors, votes=(), voided=void)

    def delegate(self, delegation: Delegation, at: float) -> "Poll":
        """The poll with one more delegation, or with its refusal."""
        reason = self.delegation_objection(delegation)
        if reason is not None:
            return self.refuse(delegation.delegator, reason, at)
        return self._next(delegations=(*self.delegations, delegation))

    def escalate(self) -> "Poll":
        """The poll open to the rule's escalation as well."""
        return self._next(escalated=True)

    def hold(self) -> "Poll":
        """The poll past its expiry, waiting on."""
        return self._next(overdue=True)

    def remind(self) -> "Poll":
        """The poll with one more reminder sent."""
        return self._next(reminders=self.reminders + 1)

    def objection(self, voter: str, decision: Decision, claims: Claims | None) -> Refusal | None:
        """Why a vote does not count; None when it does."""
        if claims is not None and (reason := self._token_objection(decision, claims)) is not None:
            return reason
        if decision is Decision.REJECT:
            return None
        if claims is None and not self._unsigned_helps:
            return Refusal.TOKEN_REQUIRED
        persons = [each for each in (voter, claims.on_behalf_of if claims else None) if each is not None]
        return self._personal_objection(persons)

    def delegation_objection(self, delegation: Delegation) -> Refusal | None:
        """Why a delegation does not count; None when it does."""
        if delegation.gate != self.gate:
            return Refusal.WRONG_GATE
        if delegation.plan != self.plan:
            return Refusal.STALE_PLAN
        if any(each.id == delegation.id for each in self.delegations):
            return Refusal.TOKEN_USED
        admitted = self._admission(delegation.role, delegation.groups, rejecting=False)
        return admitted or self._personal_objection([delegation.delegator, delegation.delegate])

    def _personal_objection(self, persons: list[str]) -> Refusal | None:
        """Nobody decides on his own request, and nobody counts twice: in his name or in another's."""
        if self.rule.exclude_requester and any(person in self.authors for person in persons):
            return Refusal.REQUESTER
        heard = [person for vote in self.votes for person in (vote.voter, vote.on_behalf_of)]
        return Refusal.DUPLICATE if any(person in heard for person in persons) else None

    def _token_objection(self, decision: Decision, claims: Claims) -> Refusal | None:
        if claims.gate != self.gate or claims.decision is not decision:
            return Refusal.WRONG_GATE
        if claims.plan != self.plan:
            return Refusal.STALE_PLAN
        if any(vote.token_id == claims.token_id for vote in (*self.votes, *self.voided)):
            return Refusal.TOKEN_USED
        if claims.on_behalf_of is not None and not self._delegated(claims):
            return Refusal.DELEGATION
        return self._admission(claims.role, claims.groups, rejecting=decision is Decision.REJECT)

    def _admission(self, role: Role, groups: tuple[str, ...], *, rejecting: bool) -> Refusal | None:
        """Whether somebody of this role and these groups can help an open quorum."""
        able = [quorum for quorum in self.quorums if role.includes(quorum.role)]
        if not able:
            return Refusal.ROLE
        if rejecting or any(quorum.concerns(groups) for quorum in able):
            return None
        return Refusal.GROUP

    def _delegated(self, claims: Claims) -> bool:
        """Whether the delegation that a vote names is here, for this vote, and not used yet."""
        used = [vote.delegation for vote in (*self.votes, *self.voided)]
        return any(
            each.id == claims.delegation and each.allows(claims) and each.plan == self.plan
            for each in self.delegations
            if each.id not in used
        )

    def _next(self, **changes: object) -> "Poll":
        return self.model_copy(update={**changes, "revision": self.revision + 1})

    @property
    def _unsigned_helps(self) -> bool:
        """Whether an approval that proves nothing counts: where the policy says so, but for no group."""
        return self.unsigned_votes and any(quorum.concerns(()) for quorum in self.quorums)

    @property
    def authors(self) -> tuple[str, ...]:
        """Who asked for it, and who changed it since."""
        return (self.requester, *self.amended_by)

    @property
    def quorums(self) -> tuple[Quorum, ...]:
        """What passes the gate now: any of these."""
        if self.escalated and self.rule.escalation is not None:
            return (self.rule, self.rule.escalation)
        return (self.rule,)

    @property
    def on_expiry(self) -> str:
        """What happens at the next expiry."""
        if self.escalated and self.rule.escalation is not None:
            return self.rule.escalation.on_expiry
        return self.rule.on_expiry

    @property
    def approvals(self) -> int:
        """How many people have approved."""
        return sum(vote.decision is Decision.APPROVE for vote in self.votes)

    @property
    def missing(self) -> tuple[Missing, ...]:
        """What each open quorum still lacks."""
        return tuple(self._missing(quorum) for quorum in self.quorums)

    def _missing(self, quorum: Quorum) -> Missing:
        counting = [
            vote.groups
            for vote in self.votes
            if vote.decision is Decision.APPROVE and (vote.role is None or vote.role.includes(quorum.role))
        ]
        return quorum.missing(counting)

    @property
    def waits_for(self) -> str:
        """The missing approvals in words; any of the alternatives will do."""
        return " or ".join(missing.words for missing in self.missing if missing.words)

    @property
    def result(self) -> GateResult | None:
        """Rejected by the first rejection, approved by a quorum; None while it waits."""
        if any(vote.decision is Decision.REJECT for vote in self.votes):
            return GateResult.REJECTED
        return GateResult.APPROVED if any(not each.count for each in self.missing) else None
