"""Random orders of votes, delegations and amendments against a model that keeps only what it must.

The model knows people and what they have said since the last change. The gate knows tokens, roles, groups,
escalations and delegations. Both must come to the same result at every moment.
"""

from dataclasses import dataclass, field
from itertools import permutations

from hypothesis import given, settings
from hypothesis import strategies as st

from domain.delegation import Delegation, DelegationKind
from domain.gate import GateResult, NewDigest, Poll
from domain.gate_rule import GateRule
from domain.roles import Role
from domain.vote import Ballot, Claims, Decision

GATE = "approval-d1-promotion"
AUTHOR = "ana"
GROUPS = {
    AUTHOR: ("sre",),
    "bob": ("sre",),
    "cyd": ("security", "sre"),
    "dan": ("security",),
    "eli": (),
    "fay": ("managers",),
}
PERSON = st.sampled_from(sorted(GROUPS))
STEP = st.one_of(
    st.tuples(st.just("approve"), PERSON),
    st.tuples(st.just("approve-old-plan"), PERSON),
    st.tuples(st.just("repeat-token"), PERSON),
    st.tuples(st.just("delegate"), PERSON, PERSON),
    st.tuples(st.just("approve-for"), PERSON, PERSON),
    st.tuples(st.just("amend"), PERSON),
    st.tuples(st.just("escalate")),
    st.tuples(st.just("reject"), PERSON),
)
RULE = GateRule.model_validate(
    {
        "name": "promotion",
        "required": 2,
        "groups": [{"group": "sre"}, {"group": "security"}],
        "on_expiry": "escalate",
        "escalation": {"required": 1, "groups": [{"group": "managers"}]},
    }
)


@dataclass
class Model:
    """Who may not decide, who has been heard for whom, and what passes."""

    authors: list[str] = field(default_factory=lambda: [AUTHOR])
    approvals: list[tuple[str, str]] = field(default_factory=list)  # (who cast it, whose vote it is)
    delegations: list[tuple[str, str]] = field(default_factory=list)  # unused: (delegator, delegate)
    escalated: bool = False
    rejected: bool = False

    def useful(self, person: str) -> bool:
        wanted = ["sre", "security", *(["managers"] if self.escalated else [])]
        return any(group in wanted for group in GROUPS[person])

    def free(self, *people: str) -> bool:
        heard = [each for pair in self.approvals for each in pair]
        return not any(person in self.authors or person in heard for person in people)

    def approve(self, caster: str, owner: str) -> None:
        if self.free(caster, owner) and self.useful(owner):
            self.approvals.append((caster, owner))

    @property
    def result(self) -> GateResult | None:
        if self.rejected:
            return GateResult.REJECTED
        owners = [owner for _, owner in self.approvals]
        normal = any(
            "sre" in GROUPS[one] and "security" in GROUPS[other] for one, other in permutations(owners, 2)
        )
        managers = self.escalated and any("managers" in GROUPS[owner] for owner in owners)
        return GateResult.APPROVED if normal or managers else None


class Run:
    """The gate and the model side by side."""

    def __init__(self) -> None:
        self.model = Model()
        self.poll = Poll(gate=GATE, rule=RULE, plan="0" * 64, requester=AUTHOR, unsigned_votes=False)
        self.number = 0
        self.open: dict[tuple[str, str], str] = {}

    def claims(self, caster: str, owner: str, decision: Decision = Decision.APPROVE, **changes) -> Claims:
        self.number += 1
        by_delegation = {"on_behalf_of": owner, "delegation": self.open.get((owner, caster), "none")}
        return Claims.model_validate(
            {
                "subject": caster,
                "role": Role.APPROVER,
                "groups": GROUPS[owner],
                "gate": GATE,
                "plan": self.poll.plan,
                "decision": decision,
                "token_id": f"t{self.number}",
                **(by_delegation if caster != owner else {}),
                **changes,
            }
        )

    def cast(self, claims: Claims) -> None:
        self.poll = self.poll.cast(Ballot(), claims.decision, claims, float(self.number))

    def step(self, kind: str, *people: str) -> None:
        getattr(self, kind.replace("-", "_"))(*people)

    def approve(self, person: str) -> None:
        self.cast(self.claims(person, person))
        self.model.approve(person, person)

    def approve_old_plan(self, person: str) -> None:
        self.cast(self.claims(person, person, plan="f" * 64))

    def repeat_token(self, person: str) -> None:
        used = [vote.token_id for vote in (*self.poll.votes, *self.poll.voided)]
        if used:
            self.cast(self.claims(person, person, token_id=used[0]))

    def delegate(self, owner: str, delegate: str) -> None:
        self.number += 1
        given = Delegation(
            id=f"d{self.number}",
            kind=DelegationKind.LINK,
            delegator=owner,
            role=Role.APPROVER,
            groups=GROUPS[owner],
            delegate=delegate,
            gate=GATE,
            plan=self.poll.plan,
        )
        self.poll = self.poll.delegate(given, 0.0)
        if self.model.free(owner, delegate) and self.model.useful(owner):
            self.model.delegations.append((owner, delegate))
            self.open[owner, delegate] = given.id

    def approve_for(self, owner: str, caster: str) -> None:
        if owner == caster:
            return
        self.cast(self.claims(caster, owner))
        if (owner, caster) in self.model.delegations:
            self.model.approve(caster, owner)

    def amend(self, person: str) -> None:
        self.number += 1
        self.poll = self.poll.amend(NewDigest(digest=f"{self.number:064x}", actor=person))
        self.model.approvals, self.model.delegations = [], []
        if person not in self.model.authors:
            self.model.authors.append(person)

    def escalate(self) -> None:
        self.poll = self.poll.escalate()
        self.model.escalated = True

    def reject(self, person: str) -> None:
        self.cast(self.claims(person, person, Decision.REJECT))
        self.model.rejected = True


@settings(max_examples=400)
@given(st.lists(STEP, max_size=25))
def test_the_gate_and_the_model_agree_after_every_step(steps):
    run = Run()
    for step in steps:
        before = run.poll
        run.step(*step)
        assert run.poll.result == run.model.result, step
        assert run.poll.revision >= before.revision
        casters = [vote.voter for vote in run.poll.votes if vote.decision is Decision.APPROVE]
        assert casters == [caster for caster, _ in run.model.approvals]
        assert not any(author in casters for author in run.poll.authors)
        if run.poll.result is not None:
            return
