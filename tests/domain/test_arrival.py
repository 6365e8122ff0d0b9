"""Arrivals: what a request does to what runs and waits."""

import pytest

from domain.arrival import Admission, Arrival, SupersedeMode, Waiting, admit, stricter
from domain.deployment import TRANSITIONS, Phase
from domain.errors import InvalidInput
from domain.freeze import Freeze
from domain.lane import override_digest, startable, startable_beside, superseder
from domain.messages import LaneView, QueuedDeployment
from domain.policy import EnvironmentPolicy

REVERT, FORWARD = SupersedeMode.REVERT_FIRST, SupersedeMode.ROLL_FORWARD


def waiting(name: str, module: str = "web", **facts: object) -> Waiting:
    return Waiting(deployment=name, module=module, **facts)


def running(module: str = "web", phase: Phase = Phase.BAKING, **facts: object) -> Waiting:
    return Waiting(deployment="r", module=module, phase=phase, **facts)


HEIR = waiting("q", supersedes="s", supersede_mode=FORWARD)
INHERITS = Admission(withdrawn=("q",), supersedes="s", mode=FORWARD)


@pytest.mark.parametrize(
    ("arrival", "mode", "runs", "queued", "expected"),
    [
        ("reject", REVERT, None, [], Admission()),
        ("reject", REVERT, running(), [], Admission(blocked_by="r")),
        ("reject", REVERT, None, [waiting("q")], Admission(blocked_by="q")),
        ("queue", FORWARD, running(), [waiting("q")], Admission()),
        ("coalesce", FORWARD, running(), [waiting("q"), waiting("o", "other")], Admission(withdrawn=("q",))),
        ("coalesce", REVERT, None, [waiting("q", rolls_back="x"), waiting("h", hotfix=True)], Admission()),
        (
            "supersede",
            REVERT,
            running(),
            [waiting("q")],
            Admission(withdrawn=("q",), supersedes="r", mode=REVERT),
        ),
        ("supersede", FORWARD, running(), [], Admission(supersedes="r", mode=FORWARD)),
        ("supersede", FORWARD, running("other"), [], Admission()),
        ("supersede", FORWARD, running(phase=Phase.ROLLING_BACK), [], Admission()),
        ("supersede", FORWARD, running(rolls_back="x"), [], Admission()),
        ("supersede", FORWARD, running(hotfix=True), [], Admission()),
        # what a withdrawn one was to supersede, the new one supersedes
        ("supersede", FORWARD, None, [HEIR], INHERITS),
        ("coalesce", REVERT, None, [HEIR], INHERITS),
        ("preempt", REVERT, None, [HEIR, waiting("p")], INHERITS),
        ("preempt", FORWARD, running(), [waiting("q")], Admission(supersedes="r", mode=FORWARD)),
        ("preempt", FORWARD, running("other"), [waiting("q")], Admission(supersedes="r", mode=REVERT)),
        ("preempt", REVERT, running("other", hotfix=True), [], Admission()),
        ("preempt", REVERT, running(hotfix=True), [], Admission(supersedes="r", mode=REVERT)),
    ],
)
def test_what_a_request_does(arrival, mode, runs, queued, expected):
    assert admit("web", Arrival(arrival), mode, running=runs, queued=queued) == expected


def test_a_request_may_be_stricter_than_its_environment_and_no_laxer():
    assert stricter(Arrival.SUPERSEDE, None) is Arrival.SUPERSEDE
    assert stricter(Arrival.SUPERSEDE, Arrival.REJECT) is Arrival.REJECT
    assert stricter(Arrival.COALESCE, Arrival.QUEUE) is Arrival.QUEUE
    for policy, asked in ((Arrival.REJECT, Arrival.QUEUE), (Arrival.QUEUE, Arrival.SUPERSEDE)):
        with pytest.raises(InvalidInput, match="laxer") as refused:
            stricter(policy, asked)
        assert refused.value.field == "arrival"
    with pytest.raises(InvalidInput):
        stricter(Arrival.SUPERSEDE, Arrival.PREEMPT)


def test_preempt_is_no_arrival_of_an_environment():
    with pytest.raises(ValueError, match="declared hotfix"):
        EnvironmentPolicy(arrival=Arrival.PREEMPT)


def test_the_hotfix_gate_comes_before_all_and_has_a_name_of_its_own():
    policy = EnvironmentPolicy.model_validate({"gates": [{"name": "promotion"}]})
    assert [gate.name for gate in policy.of_request(hotfix=True).gates] == ["hotfix", "promotion"]
    assert policy.of_request(hotfix=False) is policy
    with pytest.raises(ValueError, match="names of their own"):
        EnvironmentPolicy.model_validate({"gates": [{"name": "hotfix"}]})
    with pytest.raises(ValueError, match="before anything moves"):
        EnvironmentPolicy.model_validate({"hotfix": {"gate": {"name": "hotfix", "before_wave": 2}}})


def test_superseded_is_an_end_that_only_what_has_not_turned_back_can_reach():
    assert Phase.SUPERSEDED.terminal
    before = [phase for phase, following in TRANSITIONS.items() if Phase.SUPERSEDED in following]
    assert Phase.ROLLING_BACK not in before
    assert {Phase.QUEUED, Phase.PLANNING, Phase.BAKING, Phase.FROZEN} <= {*before}


def entry(name: str, **facts: object) -> QueuedDeployment:
    return QueuedDeployment(
        deployment=name, requester="ana", module="web", version="1.0.0", strategy="direct", **facts
    )


FREEZE = Freeze(reason="feast", until=1.0)


@pytest.mark.parametrize(
    ("facts", "queued", "starts"),
    [
        ({}, [entry("a"), entry("b")], "a"),
        ({"running": entry("r")}, [entry("a")], None),
        ({"frozen": "x"}, [entry("a")], None),
        ({"frozen": "x", "may_override": True}, [entry("a"), entry("o", override="must")], "o"),
        ({"frozen": "the tenant is held"}, [entry("o", override="must")], None),
        ({"freeze": FREEZE}, [entry("a"), entry("u", rolls_back="z")], "u"),
        ({"freeze": FREEZE}, [entry("a"), entry("h", hotfix=True)], "h"),
        ({"freeze": FREEZE, "frozen": "x", "may_override": True}, [entry("a", override="must")], None),
    ],
)
def test_what_starts_next(facts, queued, starts):
    found = startable(LaneView(queued=tuple(queued), **facts))
    assert (found.deployment if found else None) == starts


@pytest.mark.parametrize(
    ("facts", "queued", "starts"),
    [
        ({"running": entry("r")}, [entry("a"), entry("b", beside="r"), entry("c", beside="r")], "b"),
        ({"running": entry("r")}, [entry("b", beside="gone")], None),
        ({"running": entry("r"), "beside": entry("x", beside="r")}, [entry("b", beside="r")], None),
        ({"running": entry("r"), "frozen": "x"}, [entry("b", beside="r")], None),
        ({"running": entry("r"), "freeze": FREEZE}, [entry("b", beside="r")], None),
        ({}, [entry("b", beside="r")], None),
    ],
)
def test_what_starts_beside_what_runs(facts, queued, starts):
    view = LaneView(queued=tuple(queued), **facts)
    found = startable_beside(view)
    assert (found.deployment if found else None) == starts
    assert startable(view) is None


def test_who_makes_room_for_whom():
    view = LaneView(running=entry("r"), queued=(entry("a", supersedes="old"), entry("b", supersedes="r")))
    assert superseder(view).deployment == "b"
    assert superseder(LaneView(queued=view.queued)) is None
    assert superseder(LaneView(running=entry("x"), queued=view.queued)) is None


def test_votes_about_an_override_bind_to_what_it_says():
    one, other = entry("a", override="must"), entry("a", override="may")
    assert override_digest(one, "x") == override_digest(one, "x")
    assert len({override_digest(one, "x"), override_digest(one, "y"), override_digest(other, "x")}) == 3
