"""Chosen baselines: which unchanged nodes, which are restarted and when, and what is told beforehand."""

from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from domain.baseline import BASELINE_NODES
from domain.errors import PlanImpossible
from domain.forecast import forecast
from domain.node import CLASS_LABELS, Node
from domain.placement import zone_of
from domain.plan import Analyze, Plan
from domain.planner import make_plan
from domain.policy import AnalysisRule, EnvironmentPolicy
from domain.steps import Renew
from domain.strategy import Canary
from tests.domain.test_custom import custom, wave
from tests.domain.test_planner import RELEASE, fleet, plan_for

FRESH = EnvironmentPolicy(analysis=AnalysisRule(against="fresh"))
PAIRED = EnvironmentPolicy(analysis=AnalysisRule(against="paired"))
CONCURRENT = EnvironmentPolicy()


def renewals(plan: Plan) -> list[tuple[int, tuple[str, ...]]]:
    return [(step.wave, step.nodes) for step in plan.steps if isinstance(step, Renew)]


def plan_of(nodes: list[Node], running: dict[str, str | None], strategy=None, policy=FRESH) -> Plan:
    return make_plan(
        tenant="acme",
        environment="production",
        release=RELEASE,
        nodes=nodes,
        running=running,
        strategy=strategy or Canary(),
        policy=policy,
    )


def labels_of(nodes: list[Node]) -> dict[str, tuple[str, ...]]:
    return {node.name: tuple(node.labels.get(label, "") for label in CLASS_LABELS) for node in nodes}


def test_as_many_unchanged_nodes_are_restarted_once_the_wave_is_read_back():
    plan = plan_for(10, strategy=Canary(first_bake=30), policy=FRESH)
    assert [(step.kind, step.wave) for step in plan.steps if step.wave < 3] == [
        *[("stage", 1), ("activate", 1), ("verify", 1), ("renew", 1), ("bake", 1), ("analyze", 1)],
        *[("stage", 2), ("activate", 2), ("verify", 2), ("renew", 2), ("analyze", 2)],
    ]
    assert [len(plan.fresh_baseline(number)) for number in (1, 2, 3)] == [1, 3, 5]
    assert [len(nodes) for _, nodes in renewals(plan)] == [1, 2, 2]


def test_nodes_that_change_last_are_taken_and_stay_in_the_group():
    plan = plan_for(10, policy=FRESH)
    first, second, third = (plan.fresh_baseline(number) for number in (1, 2, 3))
    assert set(first) < set(second) < set(third)
    assert set(third) == set(plan.remaining_after(3))


def test_the_group_is_of_the_changed_nodes_zones_roles_and_architectures():
    nodes = fleet(200)
    plan = plan_of(nodes, dict.fromkeys((node.name for node in nodes), "1.0.0"))
    classes = labels_of(nodes)
    for number in (1, 2):
        changed = Counter(classes[name] for name in plan.changed_by(number))
        assert Counter(classes[name] for name in plan.fresh_baseline(number)) == changed


def test_pairs_are_of_one_kind_and_nothing_is_restarted_for_them():
    nodes = fleet(200)
    running = dict.fromkeys((node.name for node in nodes), "1.0.0")
    plan = plan_of(nodes, running, policy=PAIRED)
    classes = labels_of(nodes)
    looks = [step for step in plan.steps if isinstance(step, Analyze)]
    assert renewals(plan) == []
    for look in looks[:2]:
        changed = Counter(classes[name] for name in plan.changed_by(look.wave))
        assert Counter(classes[name] for name in look.nodes) == changed
    told = forecast(plan, zones(nodes), {}, {})
    assert [each.baseline and (each.baseline.nodes, each.baseline.reason) for each in told] == [
        (20, ""),
        (60, ""),
        (100, ""),
        None,
    ]


def test_a_plan_that_compares_with_what_it_has_changed_cannot_be_built():
    plan = plan_for(10, policy=PAIRED)
    steps = [
        step.model_copy(update={"nodes": plan.waves[0].nodes}) if isinstance(step, Analyze) else step
        for step in plan.steps
    ]
    with pytest.raises(ValueError, match=r"analyze of wave 1: node-\d+ is not of a later wave"):
        Plan.model_validate({**plan.model_dump(), "steps": [step.model_dump() for step in steps]})


def test_the_default_adds_nothing_and_changes_no_digest():
    plan = plan_for(10, policy=CONCURRENT)
    assert renewals(plan) == []
    assert all(each.baseline is None for each in forecast(plan, zones(fleet(10)), {}, {}))


def zones(nodes: list[Node]) -> dict[str, str]:
    return {node.name: zone_of(node) for node in nodes}


def test_a_group_that_cannot_be_equal_is_as_large_as_can_be_and_says_why():
    plan = plan_for(10, strategy=Canary(shares=(70, 100)), policy=FRESH)
    told = forecast(plan, zones(fleet(10)), {}, {})[0].baseline
    assert told.nodes == len(plan.fresh_baseline(1)) == 3
    assert sum(told.renewed.values()) == 3
    assert told.reason == "7 nodes are changed, and of the 3 others 3 run what is replaced"


def test_a_large_group_stops_where_more_nodes_help_no_verdict():
    plan = plan_for(1000, strategy=Canary(shares=(30, 100)), policy=FRESH)
    told = forecast(plan, zones(fleet(1000)), {}, {})[0].baseline
    assert (told.nodes, told.reason) == (BASELINE_NODES, f"more than {BASELINE_NODES} make no verdict better")


def test_only_nodes_that_run_what_is_replaced_are_restarted():
    nodes = fleet(10)
    running = {node.name: "1.0.0" if index % 2 else "0.9.0" for index, node in enumerate(nodes)}
    running[nodes[0].name] = "1.0.0"
    plan = plan_of(nodes, running, Canary(shares=(40, 100)))
    [(_, restarted)] = renewals(plan)
    assert plan.replaces == "1.0.0"
    assert {running[name] for name in restarted} == {"1.0.0"}


def test_without_any_such_node_the_plan_is_refused():
    nodes = fleet(4)
    first = plan_of(nodes, dict.fromkeys((node.name for node in nodes), "1.0.0")).waves[0].nodes
    running = {
        node.name: "1.0.0" if node.name in first else f"0.{index}.0" for index, node in enumerate(nodes)
    }
    with pytest.raises(PlanImpossible, match="leaves unchanged") as refused:
        plan_of(nodes, running)
    assert refused.value.field == "analysis.against"


def test_a_first_install_has_nothing_to_restart():
    assert renewals(plan_for(10, policy=FRESH, running=None)) == []


def test_in_a_list_too_the_restart_follows_the_read_back_not_the_pause():
    steps = [*wave(1, {"step": "pause"}, {"step": "analyze", "wave": 1}), *wave(2)]
    plan = plan_for(10, strategy=custom([2, "rest"], steps), policy=FRESH)
    assert [step.kind for step in plan.steps][:6] == [
        *("stage", "activate", "verify", "renew", "pause", "analyze"),
    ]


@given(
    count=st.integers(2, 60),
    per_zone=st.sampled_from([1, 2, "34%", None]),
    shares=st.sampled_from([(10, 30, 50, 100), (50, 100), (20, 90, 100)]),
    seed=st.randoms(use_true_random=False),
)
@settings(max_examples=60, deadline=None)
def test_no_restart_takes_more_of_a_zone_than_may_be_unavailable(count, per_zone, shares, seed):
    nodes = fleet(count)
    running = dict.fromkeys((node.name for node in nodes), "1.0.0")
    strategy = Canary(shares=shares, max_unavailable=per_zone)
    shuffled = seed.sample(nodes, len(nodes))
    plan = plan_of(shuffled, running, strategy)
    assert plan == plan_of(nodes, running, strategy)
    sizes = Counter(map(zone_of, nodes))
    for _, restarted in renewals(plan):
        for zone, taken in Counter(zones(nodes)[name] for name in restarted).items():
            share = per_zone if isinstance(per_zone, int) else max(1, sizes[zone] * 34 // 100)
            assert per_zone is None or taken <= share
    judged = [step.wave for step in plan.steps if isinstance(step, Analyze)]
    for number in judged:
        group = plan.fresh_baseline(number)
        assert set(group) <= set(plan.remaining_after(number))
        assert len(group) == min(len(plan.changed_by(number)), len(plan.remaining_after(number)))


@pytest.mark.parametrize("wanted", ["changed", "twice"])
def test_a_plan_that_restarts_what_it_has_changed_cannot_be_built(wanted):
    plan = plan_for(10, policy=FRESH)
    name = plan.waves[0].nodes[0] if wanted == "changed" else renewals(plan)[0][1][0]
    steps = [
        step.model_copy(update={"nodes": (name,)}) if isinstance(step, Renew) and step.wave == 2 else step
        for step in plan.steps
    ]
    with pytest.raises(
        ValueError, match="is not of a later wave" if wanted == "changed" else "renewed twice"
    ):
        Plan.model_validate({**plan.model_dump(), "steps": [step.model_dump() for step in steps]})
