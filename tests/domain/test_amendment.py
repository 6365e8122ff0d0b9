"""Amendments: what they change and leave, and that narrowing never widens, however often it is done."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from domain.amendment import Changes, amended, diverges
from domain.errors import NotAmendable, PlanImpossible
from domain.gate_rule import GateRule
from domain.plan import Analyze, Bake, Gate, Plan, Watch
from domain.policy import AnalysisRule, EnvironmentPolicy, FailureBudget
from domain.strategy import BlueGreen, Canary, Rolling
from domain.widening import widens
from tests.domain.test_planner import gates_of, in_place_waves, plan_for

POLICY = EnvironmentPolicy(
    gates=(GateRule(name="promotion"),),
    failures=FailureBudget(share=0.2),
    analysis=AnalysisRule(duration=60, interval=10),
)
STRATEGIES = st.sampled_from(
    [
        Canary(),
        Canary(shares=(20, 100), first_bake=30),
        Rolling(batch=4, max_unavailable=2, bake=40),
        BlueGreen(watch=20, keep=30),
        in_place_waves(3),
    ]
)
NARROWING = st.builds(
    Changes,
    wave_nodes=st.none() | st.integers(1, 6),
    bake=st.none() | st.integers(60, 90),
    analysis=st.none() | st.integers(60, 90),
    failures=st.none() | st.builds(FailureBudget, share=st.floats(0, 0.2), minimum_executed=st.just(10)),
    deadline=st.just(14_400.0),
)
WIDER = {
    "bake": Changes(bake=10),
    "analysis": Changes(analysis=20),
    "failures": Changes(failures=FailureBudget(share=0.5)),
    "failures counted sooner": Changes(failures=FailureBudget(share=0.2, minimum_executed=2)),
    "deadline": Changes(deadline=86_400),
}


def plan(strategy=None, count: int = 10) -> Plan:
    return plan_for(count, strategy=strategy or Canary(first_bake=30, bake=60), policy=POLICY)


def step_of(of: Plan, kind: str, wave: int) -> int:
    return next(at for at, each in enumerate(of.steps) if (each.kind, each.wave) == (kind, wave))


def sizes(of: Plan) -> list[int]:
    return [len(wave.nodes) for wave in of.waves]


def test_later_waves_are_cut_and_each_part_has_what_the_wave_had():
    before = plan()
    assert sizes(before) == [1, 2, 2, 5]
    after = amended(before, step_of(before, "analyze", 2), Changes(wave_nodes=2))
    assert sizes(after) == [1, 2, 2, 1, 2, 2]
    assert after.nodes == before.nodes
    assert [step.kind for step in after.steps if step.wave == 5] == ["stage", "activate", "verify", "bake"]
    assert widens(before, after) == ()
    assert widens(after, before) == ("wave 4 changes nodes of waves 4 and 6 together",)


def test_what_has_begun_stays_and_its_wave_is_not_cut():
    before = plan()
    step = step_of(before, "stage", 4)
    with pytest.raises(NotAmendable):
        amended(before, step, Changes(wave_nodes=2))
    after = amended(before, step_of(before, "gate", 2), Changes(wave_nodes=1, bake=90, analysis=70))
    assert after.steps[:5] == before.steps[:5] == after.steps[: diverges(before, after)][:5]
    assert gates_of(after) == gates_of(before)
    assert sizes(after) == [1] * 10
    assert {step.seconds for step in after.steps[5:] if isinstance(step, Bake)} == {90}
    assert {step.rule.duration for step in after.steps[5:] if isinstance(step, Analyze)} == {70}


def test_a_gate_is_added_before_a_wave_that_has_not_begun():
    before = plan()
    after = amended(before, 1, Changes(gates=(GateRule(name="second", before_wave=3),)))
    [gate] = [step for step in after.steps if isinstance(step, Gate) and step.rule.name == "second"]
    assert (gate.wave, after.steps[after.steps.index(gate) + 1].kind) == (3, "stage")
    assert widens(before, after) == ()
    assert widens(after, before) == ("gate second before wave 3 is missing, another, or later",)


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"gates": [{"name": "late", "before_wave": 1}]}, "gates.0.before_wave"),
        ({"gates": [{"name": "promotion", "before_wave": 3}]}, "gates.0.name"),
        ({"bake": 15_000}, "deadline"),
        ({"deadline": 600}, "deadline"),
    ],
)
def test_what_cannot_be_is_refused_by_field(changes, field):
    before = plan()
    with pytest.raises(PlanImpossible) as refused:
        amended(before, 1, Changes.model_validate(changes))
    assert refused.value.field == field


def test_a_switch_of_all_nodes_at_once_is_not_cut():
    before = plan(BlueGreen())
    with pytest.raises(NotAmendable):  # its only wave has begun
        amended(before, step_of(before, "stage", 1), Changes(wave_nodes=2))
    early = plan_for(
        10, strategy=BlueGreen(), policy=EnvironmentPolicy(gates=(GateRule(name="g", before_wave=1),))
    )
    with pytest.raises(PlanImpossible) as refused:
        amended(early, 0, Changes(wave_nodes=2))
    assert refused.value.field == "wave_nodes"


def test_an_amendment_says_something_and_comes_before_the_end():
    with pytest.raises(ValidationError, match="say what to change"):
        Changes()
    before = plan()
    with pytest.raises(NotAmendable):
        amended(before, len(before.steps) - 1, Changes(bake=90))
    with pytest.raises(NotAmendable):
        amended(before, 0, Changes(bake=60, failures=POLICY.failures).model_copy(update={"bake": None}))


@pytest.mark.parametrize("changes", WIDER.values(), ids=WIDER)
def test_each_change_that_widens_is_named(changes):
    before = plan()
    assert widens(before, amended(before, 0, changes)) != ()


def test_a_wave_or_a_protection_that_is_gone_or_comes_later_widens():
    before = plan()

    def without(kind: str, wave: int) -> Plan:
        kept = tuple(step for step in before.steps if (step.kind, step.wave) != (kind, wave))
        return before.model_copy(update={"steps": kept})

    for kind, wave in (("gate", 2), ("analyze", 1), ("bake", 1), ("verify", 3), ("bake", 4)):
        assert widens(before, without(kind, wave)) != (), (kind, wave)
    swapped = [*before.waves]
    swapped[2], swapped[3] = (
        wave.model_copy(update={"nodes": other.nodes})
        for wave, other in ((swapped[2], swapped[3]), (swapped[3], swapped[2]))
    )
    assert widens(before, before.model_copy(update={"waves": tuple(swapped)})) != ()
    more = before.waves[3].model_copy(update={"nodes": (*before.waves[3].nodes, "node-999")})
    assert widens(before, before.model_copy(update={"waves": (*before.waves[:3], more)})) != ()
    late = [*before.steps]
    gate = late.pop(step_of(before, "gate", 2))
    late.insert(late.index(next(step for step in late if step.wave == 3)), gate)
    assert widens(before, before.model_copy(update={"steps": tuple(late)})) != ()


def test_the_background_analysis_must_stay():
    rule = AnalysisRule(duration=60, interval=10)
    before = plan()
    watched = before.model_copy(update={"steps": (Watch(wave=1, rule=rule), *before.steps)})
    assert widens(watched, watched) == ()
    assert widens(watched, before) != ()


def amended_or_same(present: Plan, step: int, changes: Changes) -> Plan:
    """The plan after an amendment; the same one where that was refused."""
    try:
        return amended(present, step, changes)
    except (NotAmendable, PlanImpossible):
        return present


@given(
    count=st.integers(3, 24),
    strategy=STRATEGIES,
    amendments=st.lists(st.tuples(st.floats(0, 1), NARROWING), min_size=1, max_size=4),
)
@settings(max_examples=80, deadline=None)
def test_narrowing_what_was_narrowed_never_widens(count, strategy, amendments):
    first = present = plan(strategy, count)
    assert widens(first, first) == ()
    step = 0
    for share, changes in sorted(amendments, key=lambda each: each[0]):
        step = max(step, int(share * (len(present.steps) - 1)))
        following = amended_or_same(present, step, changes)
        if present is first:
            assert widens(present, following) == ()
        if widens(present, following):  # less than the amendment before, which is more than the plan had
            continue
        assert widens(first, following) == ()
        assert following.steps[: step + 1] == present.steps[: step + 1]
        assert following.nodes == first.nodes
        present = following


@given(
    count=st.integers(3, 24),
    strategy=STRATEGIES,
    narrow=NARROWING,
    wide=st.sampled_from(list(WIDER.values())),
    step=st.integers(0, 8),
)
@settings(max_examples=60, deadline=None)
def test_there_and_back_is_wider_than_there(count, strategy, narrow, wide, step):
    """`widens` is a partial order: two plans that are no wider than each other are the same."""
    present = plan(strategy, count)
    for following in (amended_or_same(present, step, narrow), amended_or_same(present, step, wide)):
        wider = bool(widens(present, following) or widens(following, present))
        assert wider == (following != present)
