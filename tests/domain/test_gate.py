"""Votes: which count, which do not and why, and what they come to."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.gate import Ballot, Claims, Decision, GateResult, Poll, Refusal
from domain.policy import GateRule
from domain.roles import Role

GATE = "approval-d1-promotion"
PLAN = "f" * 64


def poll(required: int = 1, *, unsigned: bool = False, **rule) -> Poll:
    return Poll(
        gate=GATE,
        rule=GateRule(name="promotion", required=required, **rule),
        plan=PLAN,
        requester="ana",
        unsigned_votes=unsigned,
    )


def claims(subject: str = "bob", decision: Decision = Decision.APPROVE, **changes) -> Claims:
    facts = {
        "subject": subject,
        "role": Role.APPROVER,
        "gate": GATE,
        "plan": PLAN,
        "decision": decision,
        "token_id": f"t-{subject}-{decision}",
    }
    return Claims(**{**facts, **changes})


def test_a_signed_approval_passes_the_gate():
    after = poll().cast(Ballot(), Decision.APPROVE, claims(), 1.0)
    assert after.result is GateResult.APPROVED
    assert after.votes[0].voter == "bob"


@pytest.mark.parametrize(
    ("token", "reason"),
    [
        (claims(gate="approval-d2-promotion"), Refusal.WRONG_GATE),
        (claims(decision=Decision.REJECT), Refusal.WRONG_GATE),
        (claims(plan="0" * 64), Refusal.STALE_PLAN),
        (claims(role=Role.DEPLOYER), Refusal.ROLE),
        (claims(subject="ana"), Refusal.REQUESTER),
        (None, Refusal.TOKEN_REQUIRED),
    ],
)
def test_approvals_that_do_not_count_are_kept_with_their_reason(token, reason):
    after = poll().cast(Ballot(approver="ceo"), Decision.APPROVE, token, 1.0)
    assert after.result is None
    assert [refusal.reason for refusal in after.refused] == [reason]


def test_a_person_counts_once_and_a_token_is_used_once():
    first = poll(required=2).cast(Ballot(), Decision.APPROVE, claims(), 1.0)
    again = first.cast(Ballot(), Decision.APPROVE, claims(), 2.0)
    fresh = again.cast(Ballot(), Decision.APPROVE, claims(token_id="another"), 3.0)
    assert fresh.approvals == 1
    assert [refusal.reason for refusal in fresh.refused] == [Refusal.TOKEN_USED, Refusal.DUPLICATE]


def test_unsigned_votes_may_stop_anywhere_but_advance_only_where_the_policy_says():
    assert poll().cast(Ballot(approver="x"), Decision.REJECT, None, 1.0).result is GateResult.REJECTED
    assert (
        poll(unsigned=True).cast(Ballot(approver="x"), Decision.APPROVE, None, 1.0).result
        is GateResult.APPROVED
    )


def test_the_requester_may_reject_and_may_approve_where_four_eyes_are_off():
    mine = claims(subject="ana", decision=Decision.REJECT)
    assert poll().cast(Ballot(), Decision.REJECT, mine, 1.0).result is GateResult.REJECTED
    alone = poll(exclude_requester=False).cast(Ballot(), Decision.APPROVE, claims(subject="ana"), 1.0)
    assert alone.result is GateResult.APPROVED


@given(
    voters=st.lists(st.tuples(st.sampled_from(["ana", "bob", "cyd", "dan"]), st.booleans()), max_size=12),
    required=st.integers(1, 3),
)
def test_a_gate_opens_exactly_when_enough_different_others_approved_and_nobody_rejected(voters, required):
    state = poll(required)
    for number, (voter, yes) in enumerate(voters):
        decision = Decision.APPROVE if yes else Decision.REJECT
        state = state.cast(Ballot(), decision, claims(voter, decision, token_id=str(number)), float(number))
    approvers = {voter for voter, yes in voters if yes and voter != "ana"}
    if any(not yes for _, yes in voters):
        assert state.result is GateResult.REJECTED
    else:
        assert (state.result is GateResult.APPROVED) == (len(approvers) >= required)
    assert len(state.votes) + len(state.refused) == len(voters)
