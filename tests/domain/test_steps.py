"""What must come before what in a plan, and what blue-green compiles to."""

import pytest
from pydantic import ValidationError

from domain.errors import PlanImpossible
from domain.manifest import Manifest
from domain.plan import Analyze, Bake, Plan
from domain.policy import EnvironmentPolicy, GateRule, default_policy
from domain.steps import disorder
from domain.strategy import BlueGreen, Canary, Direct, Rolling
from tests.domain.test_planner import plan_for

GOOD = [("stage", 1), ("activate", 1), ("verify", 1), ("stage", 2), ("activate", 2), ("verify", 2)]
BESIDE = [("stage", 1), ("start", 1), ("smoke", 1), ("switch", 1), ("verify", 1), ("retire", 1)]


@pytest.mark.parametrize(
    ("steps", "waves", "index", "words"),
    [
        ([("activate", 1), *GOOD], 2, 0, "comes before its stage"),
        ([("stage", 1), ("verify", 1)], 1, 1, "before its activate or switch"),
        ([("stage", 1), ("switch", 1)], 1, 1, "before its start"),
        ([("stage", 1), ("smoke", 1)], 1, 1, "before its start"),
        (GOOD[:2], 1, 1, "never verified"),
        ([*GOOD[:3], ("stage", 2)], 2, 3, "wave 2 is never activated"),
        ([*GOOD, ("stage", 3)], 2, 6, "there is no wave 3"),
        ([*GOOD[:3], ("stage", 1)], 1, 3, "comes twice"),
        ([*GOOD[:3], ("activate", 1)], 1, 3, "comes twice"),
        ([("stage", 1), ("stage", 2), ("activate", 2)], 2, 2, "wave 2 changes before wave 1"),
        ([("stage", 1), ("start", 1), ("activate", 1)], 1, 2, "is switched, not activated"),
        ([*GOOD[:3], ("keep", 1)], 1, 3, "before its switch"),
        ([*GOOD, ("analyze", 1)], 2, 6, "nothing is left to compare with"),
        ([*GOOD[:1], ("bake", 1)], 1, 1, "before its activate or switch"),
    ],
)
def test_an_order_that_cannot_be_is_named_by_step_and_reason(steps, waves, index, words):
    found = disorder(steps, waves)
    assert found is not None
    assert found[0] == index
    assert words in found[1]


def test_an_order_that_can_be_has_nothing_to_name():
    assert disorder(GOOD, 2) is None
    assert disorder(BESIDE, 1) is None
    assert disorder([("gate", 1), *GOOD[:3], ("pause", 1), ("bake", 1), *GOOD[3:], ("hook", 2)], 2) is None


def test_a_plan_in_disorder_cannot_be_built():
    plan = plan_for(3, strategy=Direct(), policy=EnvironmentPolicy())
    broken = plan.model_dump() | {"steps": plan.model_dump()["steps"][1:]}
    with pytest.raises(ValidationError, match="step 1: activate of wave 1 comes before its stage"):
        Plan.model_validate(broken)


def kinds(plan: Plan) -> list[str]:
    return [step.kind for step in plan.steps]


def test_blue_green_stages_starts_smokes_asks_switches_watches_keeps_and_retires():
    plan = plan_for(20, strategy=BlueGreen(watch=30, keep=300), policy=default_policy("production"))
    assert len(plan.waves) == 1
    assert kinds(plan) == [
        *("stage", "start", "smoke", "gate", "switch"),
        *("verify", "bake", "keep", "retire"),
    ]
    assert plan.beside(1)
    assert default_policy("staging").strategy == BlueGreen()


def test_what_is_asked_before_anything_moves_comes_first_in_blue_green_too():
    policy = EnvironmentPolicy(gates=(GateRule(name="board", before_wave=1), GateRule(name="promotion")))
    plan = plan_for(3, strategy=BlueGreen(analyze=True, watch=0, keep=0), policy=policy)
    assert kinds(plan) == [
        *("gate", "stage", "start", "smoke", "gate", "switch", "verify", "analyze", "retire"),
    ]
    assert [step.against for step in plan.steps if isinstance(step, Analyze)] == ["health"]


def program(swap: str) -> Manifest:
    process = {"command": ["x"], "swap": swap, "ready": "probe" if swap == "restart" else "notify"}
    process["sockets"] = [{"name": "http"}]
    return Manifest.model_validate(
        {
            "name": "greeter",
            "version": "2.0.0",
            "kind": "process",
            "process": process,
            "probe": {"socket": "http"},
        }
    )


FILES = Manifest.model_validate({"name": "greeter", "version": "2.0.0", "kind": "files"})


def test_a_program_that_binds_its_own_ports_cannot_be_blue_green():
    with pytest.raises(PlanImpossible, match="binds its own ports") as refused:
        plan_for(3, strategy=BlueGreen(), manifest=program("restart"))
    assert refused.value.field == "strategy"
    assert plan_for(3, strategy=BlueGreen(), manifest=program("handover")).beside(1)
    assert plan_for(3, strategy=BlueGreen(), manifest=FILES).beside(1)


def test_files_give_no_samples_so_their_canary_bakes():
    plan = plan_for(10, strategy=Canary(bake=7), manifest=FILES)
    assert not [step for step in plan.steps if isinstance(step, Analyze)]
    assert [step.seconds for step in plan.steps if isinstance(step, Bake)] == [7] * 4


def test_the_first_wave_of_a_canary_may_run_longer_before_it_is_judged():
    steps = plan_for(10, strategy=Canary(first_bake=90)).steps
    assert [step.kind for step in steps if step.wave == 1] == [
        "stage",
        "activate",
        "verify",
        "bake",
        "analyze",
    ]
    assert [step.seconds for step in steps if isinstance(step, Bake)] == [90, 60]


def test_zone_by_zone_the_first_zone_is_looked_at_longer():
    strategy = Rolling(batch=2, max_unavailable=2, by_zone=True, bake=30, first_bake=300)
    plan = plan_for(12, strategy=strategy, policy=EnvironmentPolicy())
    zones = [{"abc"[int(name[-3:]) % 3] for name in wave.nodes} for wave in plan.waves]
    assert [len(zone) for zone in zones] == [1] * 6
    assert zones == sorted(zones, key=lambda zone: min(zone))
    assert [step.seconds for step in plan.steps if isinstance(step, Bake)] == [300, 300, 30, 30, 30, 30]


def test_waves_beyond_what_a_workflows_history_holds_are_refused():
    with pytest.raises(PlanImpossible, match="1500 waves are too many"):
        plan_for(1500, strategy=Rolling(batch=1), policy=EnvironmentPolicy())
