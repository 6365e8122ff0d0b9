"""Custom step lists: what they compile to, and every refusal by field and reason."""

import pytest
from pydantic import TypeAdapter, ValidationError

from domain.errors import PlanImpossible
from domain.plan import Analyze, Gate
from domain.policy import EnvironmentPolicy, GateRule
from domain.strategy import Custom, Strategy
from tests.domain.test_planner import plan_for
from tests.domain.test_steps import program

NO_GATES = EnvironmentPolicy()
GATED = EnvironmentPolicy(gates=(GateRule(name="board", before_wave=1), GateRule(name="promotion")))


def wave(number: int, *more: dict[str, object]) -> list[dict[str, object]]:
    return [
        *({"step": step, "wave": number} for step in ("stage", "activate", "verify")),
        *more,
    ]


def custom(waves: list[object], steps: list[dict[str, object]], **more: object) -> Custom:
    return Custom.model_validate({"kind": "custom", "waves": waves, "steps": steps, **more})


TWO = [*wave(1, {"step": "pause"}, {"step": "analyze", "wave": 1, "duration": 5}), *wave(2)]


def shape(plan) -> list[tuple[str, int]]:
    return [(step.kind, step.wave) for step in plan.steps]


def test_a_list_becomes_the_plan_that_it_says():
    plan = plan_for(10, strategy=custom([1, "rest"], TWO), policy=NO_GATES)
    assert [len(each.nodes) for each in plan.waves] == [1, 9]
    assert shape(plan) == [
        *[("stage", 1), ("activate", 1), ("verify", 1), ("pause", 1), ("analyze", 1)],
        *[("stage", 2), ("activate", 2), ("verify", 2)],
    ]
    [analysis] = [step for step in plan.steps if isinstance(step, Analyze)]
    assert (analysis.against, analysis.rule.duration, analysis.rule.interval) == ("baseline", 5, 5)


def test_sizes_are_numbers_shares_and_the_rest():
    plan = plan_for(10, strategy=custom([2, "30%", "rest"], [*wave(1), *wave(2), *wave(3)]), policy=NO_GATES)
    assert [len(each.nodes) for each in plan.waves] == [2, 3, 5]
    assert sorted(plan.nodes) == [f"node-{index:03}" for index in range(10)]


def test_where_nothing_is_left_to_compare_with_health_judges():
    steps = [*wave(1), {"step": "analyze", "wave": 1}]
    plan = plan_for(4, strategy=custom(["rest"], steps), policy=NO_GATES)
    assert [step.against for step in plan.steps if isinstance(step, Analyze)] == ["health"]


def test_no_list_leaves_the_policys_gates_out():
    plan = plan_for(10, strategy=custom([1, "rest"], [*wave(1), *wave(2)]), policy=GATED)
    gates = [(index, step.rule.name) for index, step in enumerate(plan.steps) if isinstance(step, Gate)]
    assert gates == [(0, "board"), (5, "promotion")]
    assert plan.steps[6].kind == "activate"
    alone = plan_for(10, strategy=custom(["rest"], wave(1)), policy=GATED)
    assert [step.kind for step in alone.steps] == ["gate", "gate", "stage", "activate", "verify"]


def test_a_list_may_ask_earlier_than_the_policy_does_but_not_later():
    early = [{"step": "gate", "name": "promotion"}, *wave(1), *wave(2)]
    plan = plan_for(10, strategy=custom([1, "rest"], early), policy=GATED)
    assert [step.rule.name for step in plan.steps if isinstance(step, Gate)] == ["promotion", "board"]
    late = [*wave(1), *wave(2), {"step": "gate", "name": "promotion"}]
    with pytest.raises(PlanImpossible, match="no gate 'promotion' from here on") as refused:
        plan_for(10, strategy=custom([1, "rest"], late), policy=GATED)
    assert refused.value.field == "strategy.steps.6"


BESIDE = [{"step": step, "wave": 1} for step in ("stage", "start", "smoke", "switch", "verify", "retire")]


@pytest.mark.parametrize(
    ("waves", "steps", "more", "field", "words"),
    [
        ([11], wave(1), {}, "strategy.waves.0", "takes 11 of 10 nodes, and 10 are left"),
        ([6, "50%"], [*wave(1), *wave(2)], {}, "strategy.waves.1", "takes 5 of 10 nodes, and 4 are left"),
        (["rest", "rest"], [*wave(1), *wave(2)], {}, "strategy.waves.1", "and 0 are left"),
        ([2, 3], [*wave(1), *wave(2)], {}, "strategy.waves", "5 of 10 nodes are in no wave"),
        ([1, "rest"], wave(1), {}, "strategy.steps.2", "wave 2 is never activated"),
        (["rest"], wave(1)[:2], {}, "strategy.steps.1", "never verified"),
        (["rest"], wave(1)[1:], {}, "strategy.steps.0", "comes before its stage"),
        (["rest"], [{"step": "pause"}, *wave(1)[1:]], {}, "strategy.steps.1", "comes before its stage"),
        (["rest"], [*wave(1), *wave(2)], {}, "strategy.steps.3", "there is no wave 2"),
        (["rest"], [{"step": "pause"}], {}, "strategy.steps.0", "never activated"),
        (["rest"], wave(1), {"max_unavailable": 1}, "strategy.waves.0", "may be unavailable"),
        (["rest"], [{"step": "gate", "name": "cab"}, *wave(1)], {}, "strategy.steps.0", "no gate 'cab'"),
    ],
)
def test_a_list_that_cannot_be_is_refused_by_field_and_reason(waves, steps, more, field, words):
    with pytest.raises(PlanImpossible) as refused:
        plan_for(10, strategy=custom(waves, steps, **more), policy=NO_GATES)
    assert refused.value.field == field
    assert words in refused.value.message


@pytest.mark.parametrize(
    ("broken", "field"),
    [
        ({"step": "deploy", "wave": 1}, "steps.0"),
        ({"step": "bake", "wave": 1}, "steps.0.bake.seconds"),
        ({"step": "stage", "wave": 0}, "steps.0.stage.wave"),
        ({"step": "stage", "wave": 1, "force": True}, "steps.0.stage.force"),
    ],
)
def test_a_step_that_is_none_is_named(broken, field):
    with pytest.raises(ValidationError) as refused:
        TypeAdapter(Strategy).validate_python({"kind": "custom", "waves": ["rest"], "steps": [broken]})
    error = refused.value.errors()[0]
    assert field in ".".join(map(str, error["loc"]))


def test_a_custom_list_runs_beside_only_what_can():
    assert plan_for(4, strategy=custom(["rest"], BESIDE), policy=NO_GATES).beside(1)
    with pytest.raises(PlanImpossible, match="binds its own ports"):
        plan_for(4, strategy=custom(["rest"], BESIDE), policy=NO_GATES, manifest=program("restart"))
