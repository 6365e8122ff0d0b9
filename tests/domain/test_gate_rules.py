"""Quorums with groups, gates per wave, gates that nobody can pass."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from domain.eligibility import Person, check_gates
from domain.errors import PlanImpossible
from domain.gate_rule import GateRule, Quorum, collision
from domain.roles import Role

GROUPS = ("sre", "security", "db")


def quorum(required: int = 1, **groups: int) -> Quorum:
    shares = [{"group": name, "required": number} for name, number in groups.items()]
    return Quorum.model_validate({"required": required, "groups": shares})


@pytest.mark.parametrize(
    ("approvers", "words"),
    [
        ([], "1 × sre, 1 × security"),
        ([("sre",)], "1 × security"),
        ([("sre",), ("sre",)], "1 × security"),
        ([("sre", "security")], "1 × security"),
        ([("sre", "security"), ("sre",)], ""),
        ([("sre",), ("sre", "security")], ""),
    ],
)
def test_each_person_counts_for_one_group_only(approvers, words):
    missing = quorum(2, sre=1, security=1).missing(approvers)
    assert missing.words == words
    assert (missing.count == 0) == (words == "")


def test_seats_beyond_the_groups_are_open_to_all():
    rule = quorum(3, sre=1)
    assert rule.concerns(()) is True
    assert quorum(1, sre=1, security=1).people == 2
    assert quorum(2, sre=1, security=1).concerns(()) is False
    assert rule.missing([(), ()]).words == "1 × sre"
    assert rule.missing([("sre",)]).words == "2 × approver"
    assert rule.missing([(), (), ("sre",)]).count == 0


def seatable(seats, people):
    """The reference: try every way to put different people on the seats."""
    return any(
        all(seat in person for seat, person in zip(seats, chosen, strict=True))
        for chosen in itertools.permutations(people, len(seats))
    )


@given(
    shares=st.dictionaries(st.sampled_from(GROUPS), st.integers(1, 2), max_size=3),
    people=st.lists(st.lists(st.sampled_from(GROUPS), unique=True).map(tuple), max_size=5),
    required=st.integers(1, 4),
)
def test_a_quorum_is_reached_exactly_when_its_seats_can_be_taken(shares, people, required):
    rule = quorum(required, **shares)
    seats = [name for name, number in shares.items() for _ in range(number)]
    enough = len(people) >= max(required, len(seats)) and seatable(seats, people)
    assert (rule.missing(people).count == 0) == enough


def test_a_gate_before_every_wave_has_a_name_per_wave():
    rule = GateRule(name="board", before_wave=2, every_wave=True)
    assert rule.before(1) is None
    assert [rule.before(wave).name for wave in (2, 3)] == ["board-2", "board-3"]
    assert GateRule(name="board", before_wave=2).before(3) is None
    assert collision([rule, GateRule(name="board-3")]) == "board-3"
    assert collision([rule, GateRule(name="board-x")]) is None


@pytest.mark.parametrize(
    "wrong",
    [
        {"on_expiry": "escalate"},
        {"escalation": {"role": "admin"}},
        {"groups": [{"group": "sre"}, {"group": "sre"}]},
        {"remind_every": 5},
        {"every_wave": True, "name": "n" * 60},
    ],
)
def test_rules_that_contradict_themselves_are_refused(wrong):
    with pytest.raises(ValidationError):
        GateRule.model_validate({"name": "promotion", **wrong})


PEOPLE = [
    Person(username="ana", role=Role.DEPLOYER),
    Person(username="bob", role=Role.APPROVER, groups=("sre",)),
    Person(username="cyd", role=Role.APPROVER, groups=("sre", "security")),
    Person(username="eve", role=Role.VIEWER, groups=("auditors",)),
]


@pytest.mark.parametrize(
    ("rule", "requester", "field"),
    [
        ({"required": 3}, "ana", "gates.g.required"),
        ({"required": 2}, "bob", "gates.g.required"),
        ({"role": "admin"}, "ana", "gates.g.required"),
        ({"groups": [{"group": "ghosts"}]}, "ana", "gates.g.groups"),
        ({"groups": [{"group": "auditors"}]}, "ana", "gates.g.groups"),
        ({"groups": [{"group": "security"}]}, "cyd", "gates.g.groups"),
        (
            {"on_expiry": "escalate", "escalation": {"role": "admin"}},
            "ana",
            "gates.g.escalation.required",
        ),
    ],
)
def test_a_gate_nobody_can_pass_is_refused_naming_field_and_reason(rule, requester, field):
    gate = GateRule.model_validate({"name": "g", **rule})
    with pytest.raises(PlanImpossible, match="nobody can pass this gate") as refused:
        check_gates([gate], PEOPLE, authors=(requester,), unsigned_votes=False)
    assert refused.value.field == field


def test_the_requester_as_the_only_approver_is_named():
    alone = [Person(username="bob", role=Role.ADMIN)]
    gate = GateRule(name="g")
    with pytest.raises(PlanImpossible, match="bob asks for it") as refused:
        check_gates([gate], alone, authors=("bob",), unsigned_votes=False)
    assert refused.value.field == "gates.g.exclude_requester"
    check_gates([GateRule(name="g", exclude_requester=False)], alone, authors=("bob",), unsigned_votes=False)


def test_gates_that_can_be_passed_are_not_refused():
    shares = [{"group": "sre"}, {"group": "security"}]
    gate = GateRule.model_validate({"name": "g", "groups": shares})
    check_gates([gate], PEOPLE, authors=("ana",), unsigned_votes=False)
    check_gates([GateRule(name="g", required=9)], [], authors=("ana",), unsigned_votes=True)
