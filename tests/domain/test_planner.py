"""Plans: every node once, every class early, small histories."""

from collections import Counter
from itertools import combinations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from domain.errors import PlanImpossible
from domain.node import CLASS_LABELS, Node
from domain.placement import cut, fill, spread, zone_limits
from domain.plan import Analyze, Bake, Gate, Plan, batches
from domain.planner import make_plan
from domain.policy import EnvironmentPolicy, GateRule, default_policy
from domain.release import ReleaseRef
from domain.steps import CHANGES
from domain.strategy import BlueGreen, Canary, Custom, Direct, Rolling, resolve

RELEASE = ReleaseRef(module="greeter", version="2.0.0", digest="a" * 64, tree="b" * 64)

IN_PLACE = ("stage", "activate", "verify")


def fleet(count: int, zones: int = 3) -> list[Node]:
    return [
        Node(
            name=f"node-{index:03}",
            environment="production",
            address=f"https://127.0.0.1:{7701 + index}",
            labels={"zone": f"z{index % zones}", "arch": "arm64" if index % 5 == 0 else "x86"},
        )
        for index in range(count)
    ]


def plan_for(count: int, *, strategy=None, policy=None, running: str | None = "1.0.0", manifest=None) -> Plan:
    nodes = fleet(count)
    return make_plan(
        tenant="acme",
        environment="production",
        release=RELEASE,
        nodes=nodes,
        running={node.name: running for node in nodes},
        strategy=strategy or Canary(),
        policy=policy or default_policy("production"),
        manifest=manifest,
    )


def in_place_waves(count: int) -> Custom:
    """A list that activates so many waves and names no gate."""
    steps = [{"step": step, "wave": wave} for wave in range(1, count + 1) for step in IN_PLACE]
    return Custom.model_validate({"kind": "custom", "waves": [*[1] * (count - 1), "rest"], "steps": steps})


def gates_of(plan: Plan) -> list[tuple[int, str]]:
    return [(place, step.rule.name) for place, step in enumerate(plan.steps) if isinstance(step, Gate)]


def test_a_canary_of_ten_nodes_grows_by_the_default_shares():
    plan = plan_for(10)
    assert [len(wave.nodes) for wave in plan.waves] == [1, 2, 2, 5]
    assert plan.replaces == "1.0.0"


def test_the_steps_read_like_the_runbook():
    kinds = [(step.kind, step.wave) for step in plan_for(10).steps]
    assert kinds == [
        *[("stage", 1), ("activate", 1), ("verify", 1), ("analyze", 1)],
        *[("gate", 2), ("stage", 2), ("activate", 2), ("verify", 2), ("analyze", 2)],
        *[("stage", 3), ("activate", 3), ("verify", 3), ("analyze", 3)],
        *[("stage", 4), ("activate", 4), ("verify", 4), ("bake", 4)],
    ]


def test_direct_is_one_wave_that_waits_for_nothing_but_the_policys_gates():
    plan = plan_for(10, strategy=Direct(), policy=EnvironmentPolicy())
    assert [step.kind for step in plan.steps] == ["stage", "activate", "verify"]
    gated = plan_for(10, strategy=Direct())
    assert [(step.kind, step.wave) for step in gated.steps[:2]] == [("gate", 1), ("stage", 1)]


def test_a_gate_of_a_later_wave_holds_the_last_wave_of_a_shorter_plan():
    rules = (GateRule(name="late", before_wave=5), GateRule(name="each", before_wave=3, every_wave=True))
    strategy = Canary(shares=(20, 100))
    plan = plan_for(10, strategy=strategy, policy=EnvironmentPolicy(strategy=strategy, gates=rules))
    gates = [(step.wave, step.rule.name) for step in plan.steps if isinstance(step, Gate)]
    assert gates == [(2, "late"), (2, "each")]
    assert [step.kind for step in plan.steps if step.wave == 2][:3] == ["gate", "gate", "stage"]


@pytest.mark.parametrize(
    ("asked", "held"),
    [
        (Canary(shares=(99, 100)), [1]),
        (Canary(shares=(10, 30, 100)), [2]),
        (Canary(shares=(20, 100)), [1]),
        (Rolling(batch=1, max_unavailable=1), [2]),
        (Rolling(batch=9, max_unavailable=9), [1]),
        (Direct(max_unavailable=5), [1]),
        (in_place_waves(2), [2]),
        (BlueGreen(), [1]),
    ],
)
def test_a_larger_first_wave_does_not_bring_more_nodes_before_the_gate(asked, held):
    """The policy's own canary asks when one node of ten has changed."""
    plan = plan_for(10, strategy=asked, policy=EnvironmentPolicy(gates=(GateRule(name="promotion"),)))
    assert [step.wave for step in plan.steps if isinstance(step, Gate)] == held


def test_a_gate_of_every_wave_begins_earlier_where_waves_are_larger():
    rule = GateRule(name="each", before_wave=2, every_wave=True)
    policy = EnvironmentPolicy(gates=(rule,))
    plan = plan_for(10, strategy=Canary(shares=(50, 100)), policy=policy)
    gates = [(step.wave, step.rule.name) for step in plan.steps if isinstance(step, Gate)]
    assert gates == [(1, "each-1"), (2, "each-2")]


ANY_STRATEGY = st.one_of(
    st.builds(Direct, max_unavailable=st.none() | st.integers(1, 4)),
    st.builds(Rolling, batch=st.integers(1, 30), max_unavailable=st.integers(1, 9), by_zone=st.booleans()),
    st.sets(st.integers(1, 99), max_size=4).map(lambda shares: Canary(shares=(*sorted(shares), 100))),
    st.just(BlueGreen()),
    st.integers(1, 3).map(in_place_waves),
)
RULES = st.lists(st.tuples(st.integers(1, 12), st.booleans()), min_size=1, max_size=3)


@given(count=st.integers(3, 30), strategy=ANY_STRATEGY, rules=RULES, running=st.sampled_from([None, "1.0.0"]))
@settings(max_examples=100, deadline=None)
def test_no_strategy_makes_a_gate_of_the_policy_fall_away(count, strategy, rules, running):
    gates = tuple(
        GateRule(name=f"g{index}", before_wave=wave, every_wave=every)
        for index, (wave, every) in enumerate(rules)
    )
    plan = plan_for(count, strategy=strategy, policy=EnvironmentPolicy(gates=gates), running=running)
    changes = {step.wave: place for place, step in enumerate(plan.steps) if step.kind in CHANGES}
    for rule in gates:
        named = (rule.name, *(f"{rule.name}-{wave}" for wave in range(1, len(changes) + 1)))
        held = [place for place, gate in gates_of(plan) if gate in named]
        assert held, f"{rule.name} is in no place"
        assert min(held) < changes[len(plan.waves)], "nothing is left to hold"


def test_a_first_install_runs_the_steps_too_judged_by_its_own_health():
    plan = plan_for(10, running=None)
    assert plan.replaces is None
    looks = [step for step in plan.steps if isinstance(step, Analyze)]
    assert [(step.wave, step.against) for step in looks] == [(wave, "health") for wave in range(1, 5)]
    assert [len(wave.nodes) for wave in plan.waves] == [1, 2, 2, 5]


def test_a_gate_before_the_first_wave_comes_before_anything_moves():
    policy = EnvironmentPolicy(gates=(GateRule(name="change-board", before_wave=1),))
    assert isinstance(plan_for(10, policy=policy).steps[0], Gate)


def test_an_empty_environment_is_refused_by_field():
    with pytest.raises(PlanImpossible) as refused:
        plan_for(0)
    assert refused.value.field == "environment"


def test_the_digest_changes_with_anything_that_people_approved():
    plan = plan_for(10)
    changed = [
        plan.model_copy(update={"release": RELEASE.model_copy(update={"digest": "c" * 64})}),
        plan_for(11),
        plan_for(10, strategy=Canary(bake=61)),
        plan_for(10, policy=EnvironmentPolicy(gates=(GateRule(name="promotion", required=2),))),
    ]
    assert plan_for(10).digest == plan.digest
    assert len({plan.digest, *(other.digest for other in changed)}) == 5


def test_a_plan_that_names_a_node_twice_cannot_be_built():
    plan = plan_for(3, strategy=Direct())
    wave = plan.waves[0].model_copy(update={"nodes": ("node-000", "node-000")})
    with pytest.raises(ValidationError, match="two waves"):
        Plan.model_validate(plan.model_copy(update={"waves": (wave,)}).model_dump())


@given(count=st.integers(1, 120), zones=st.integers(1, 6), shares=st.sets(st.integers(1, 99), max_size=6))
@settings(max_examples=60, deadline=None)
def test_each_node_is_in_exactly_one_wave_whatever_the_shares(count, zones, shares):
    nodes = fleet(count, zones)
    waves = cut(spread(nodes), (*sorted(shares), 100))
    flat = [node.name for wave in waves for node in wave]
    assert sorted(flat) == [node.name for node in nodes]
    assert all(waves)


@given(count=st.integers(1, 60), zones=st.integers(1, 6))
@settings(max_examples=40, deadline=None)
def test_the_first_nodes_cover_every_value_of_every_class_label(count, zones):
    nodes = fleet(count, zones)
    values = {(label, node.labels.get(label)) for node in nodes for label in CLASS_LABELS}
    most = max(len([value for label, value in values if label == wanted]) for wanted in CLASS_LABELS)
    first = spread(nodes)[: 2 * most]
    assert {(label, node.labels.get(label)) for node in first for label in CLASS_LABELS} == values


LABELS = st.tuples(*(st.sampled_from("abc"[: 3 if label != "arch" else 2]) for label in CLASS_LABELS))


@given(classes=st.lists(LABELS, min_size=1, max_size=9), first=st.integers(1, 4))
@settings(max_examples=150, deadline=None)
def test_the_first_wave_covers_every_class_whenever_that_many_nodes_can(classes, first):
    nodes = [
        Node(
            name=f"n{index}",
            environment="production",
            address="https://127.0.0.1:1",
            labels=dict(zip(CLASS_LABELS, labels, strict=True)),
        )
        for index, labels in enumerate(classes)
    ]

    def values(members):
        return {(label, node.labels[label]) for node in members for label in CLASS_LABELS}

    possible = any(values(some) == values(nodes) for some in combinations(nodes, min(first, len(nodes))))
    ordered = spread(nodes, first)
    assert sorted(node.name for node in ordered) == sorted(node.name for node in nodes)
    assert (values(ordered[:first]) == values(nodes)) == possible


def test_the_order_does_not_depend_on_the_order_of_the_input():
    nodes = fleet(23)
    assert spread(nodes) == spread(reversed(nodes))


@given(count=st.integers(1, 20_000))
@settings(max_examples=60, deadline=None)
def test_batches_cover_all_nodes_in_order_and_stay_few(count):
    nodes = tuple(f"n{index}" for index in range(count))
    cut_up = batches(nodes)
    assert tuple(name for batch in cut_up for name in batch) == nodes
    assert len(cut_up) <= 48
    assert all(len(batch) == 1 for batch in cut_up) or count > 16


def test_five_hundred_nodes_are_eight_batches():
    assert len(batches(tuple(f"n{index}" for index in range(500)))) == 8


def test_rolling_takes_batches_with_a_longer_first_look():
    plan = plan_for(10, strategy=Rolling(batch=3, bake=30, first_bake=300), policy=EnvironmentPolicy())
    assert [len(wave.nodes) for wave in plan.waves] == [3, 3, 3, 1]
    assert [step.seconds for step in plan.steps if isinstance(step, Bake)] == [300, 30, 30, 30]
    assert [step.kind for step in plan.steps[:4]] == ["stage", "activate", "verify", "bake"]


@pytest.mark.parametrize(
    ("amount", "total", "expected"), [(3, 10, 3), ("25%", 10, 2), ("1%", 10, 1), ("100%", 7, 7), (50, 10, 50)]
)
def test_an_amount_is_a_number_or_a_share_and_at_least_one(amount, total, expected):
    assert resolve(amount, total) == expected


@pytest.mark.parametrize("amount", [0, -1, "0%", "101%", "ten", ""])
def test_an_amount_that_cannot_be_is_refused(amount):
    with pytest.raises(ValidationError):
        Rolling(batch=amount)


@given(
    count=st.integers(1, 80), zones=st.integers(1, 5), batch=st.integers(1, 20), per_zone=st.integers(1, 6)
)
@settings(max_examples=80, deadline=None)
def test_a_rolling_wave_never_exceeds_its_batch_nor_a_zones_share(count, zones, batch, per_zone):
    nodes = fleet(count, zones)
    waves = fill(spread(nodes), batch, zone_limits(nodes, lambda _: per_zone))
    assert sorted(node.name for wave in waves for node in wave) == [node.name for node in nodes]
    for wave in waves:
        names = [node.labels["zone"] for node in wave]
        assert len(wave) <= batch
        assert max(names.count(zone) for zone in names) <= per_zone


@given(
    count=st.integers(1, 60),
    amount=st.one_of(st.integers(1, 8), st.sampled_from(["10%", "34%", "50%"])),
    strategy=st.sampled_from([Direct(), Canary(), Canary(shares=(100,)), Rolling(batch=50)]),
)
@settings(max_examples=80, deadline=None)
def test_no_wave_that_changes_in_place_takes_more_of_a_zone_than_it_may(count, amount, strategy):
    chosen = strategy.model_copy(update={"max_unavailable": amount})
    plan = plan_for(count, strategy=chosen, policy=EnvironmentPolicy())
    zones = {node.name: node.labels["zone"] for node in fleet(count)}
    sizes = Counter(zones.values())
    assert sorted(plan.nodes) == sorted(zones)
    for wave in plan.waves:
        for zone, taken in Counter(zones[name] for name in wave.nodes).items():
            assert taken <= resolve(amount, sizes[zone])


def test_a_share_with_too_many_nodes_of_a_zone_is_judged_after_the_last_of_its_waves():
    plan = plan_for(12, strategy=Canary(shares=(25, 100), max_unavailable=1), policy=EnvironmentPolicy())
    assert [len(wave.nodes) for wave in plan.waves] == [3, 3, 3, 3]
    watched = [(step.kind, step.wave) for step in plan.steps if step.kind in ("analyze", "bake")]
    assert watched == [("analyze", 1), ("bake", 4)]


def test_a_plan_for_ten_thousand_nodes_covers_each_once():
    plan = plan_for(10_000, strategy=Rolling(batch="5%", max_unavailable="10%"), policy=EnvironmentPolicy())
    assert len(plan.nodes) == 10_000
    assert len(plan.waves) >= 20
