"""What an approval is about, and what its workflow is given, writes down and answers."""

from pydantic import Field

from domain.base import Frozen
from domain.delegation import Delegation
from domain.events import EventKind
from domain.gate import GateResult, Poll
from domain.gate_rule import GateRule, SubjectKind
from domain.names import EnvironmentName, TenantId
from domain.vote import Claims, Refusal


class Subject(Frozen):
    """What is decided: its kind, what it refers to, the digest that votes bind to, and words for people."""

    kind: SubjectKind
    reference: str = Field(min_length=1, max_length=200)
    digest: str
    words: str = Field(max_length=1000)


class ApprovalInput(Frozen):
    """One gate, or one request of another kind.

    `gate` is its id, a workflow id at once. `deployment` is the deployment that it belongs to, whose events
    tell of it; without one the approval has events of its own. `amended_by` changed before what is asked.
    """

    tenant: TenantId
    environment: EnvironmentName
    gate: str
    rule: GateRule
    subject: Subject
    requester: str
    unsigned_votes: bool = False
    deployment: str | None = None
    amended_by: tuple[str, ...] = ()

    def poll(self) -> Poll:
        """The poll that it opens with."""
        return Poll(
            gate=self.gate,
            rule=self.rule,
            plan=self.subject.digest,
            requester=self.requester,
            unsigned_votes=self.unsigned_votes,
            amended_by=self.amended_by,
        )


class ApprovalResult(Frozen):
    """How the gate ended, with every vote. It is about `poll.plan`: check that before acting on it."""

    result: GateResult
    poll: Poll

    def approves(self, digest: str) -> bool:
        """Whether people approved exactly this."""
        return self.result is GateResult.APPROVED and self.poll.plan == digest


class PollEntry(Frozen):
    """What happened to a gate; `key` is unique, so that a repeat writes nothing twice."""

    key: str
    event: EventKind
    message: str
    actor: str | None = None
    details: dict[str, object] = Field(default_factory=dict)


class PollRecord(Frozen):
    """A gate to be written down with the event that tells why: in one transaction."""

    request: ApprovalInput
    poll: Poll
    expires: float
    result: GateResult | None = None
    entry: PollEntry | None = None


class VoteTokenVerdict(Frozen):
    """What a vote token says, or why it says nothing."""

    claims: Claims | None = None
    refusal: Refusal | None = None


class DelegationTokenVerdict(Frozen):
    """What a delegation's token says, or why it says nothing."""

    delegation: Delegation | None = None
    refusal: Refusal | None = None
