"""What is told of a plan before anything moves, and what differs between two."""

from hypothesis import given, settings
from hypothesis import strategies as st

from domain.difference import Changed, Moved, described, difference
from domain.forecast import by_kind, estimate, forecast
from domain.placement import zone_of
from domain.plan import Bake, Plan
from domain.policy import EnvironmentPolicy, default_policy
from domain.strategy import BlueGreen, Canary, Direct, Rolling
from tests.domain.test_custom import TWO, custom
from tests.domain.test_planner import fleet, plan_for

HISTORY = by_kind(
    [("stage", 4.0), ("stage", 2.0), ("stage", 9.0)]
    + [(kind, 1.0) for kind in ("activate", "verify", "analyze", "bake")]
)


def zones_of(count: int) -> dict[str, str]:
    return {node.name: zone_of(node) for node in fleet(count)}


def test_the_expected_time_is_the_median_of_earlier_steps_and_the_certain_waits():
    plan = plan_for(10, strategy=Rolling(batch=10, max_unavailable=4, bake=30), policy=EnvironmentPolicy())
    found = estimate(plan.steps, HISTORY)
    assert (found.typical, found.low, found.high) == (30 + 4 + 3, 30 + 2 + 3, 30 + 9 + 3)
    assert (found.unknown, found.people) == ((), 0)


def test_without_history_the_time_is_unknown_and_says_of_what():
    found = estimate(plan_for(10).steps, {"stage": [1.0]})
    assert (found.typical, found.high, found.people) == (None, None, 1)
    assert found.low == 3 * 610 + 60
    assert found.unknown == ("activate", "verify", "analyze", "bake")


def test_people_are_counted_not_guessed():
    plan = plan_for(10, strategy=custom([1, "rest"], TWO), policy=default_policy("production"))
    assert estimate(plan.steps, HISTORY).people == 2


def test_each_wave_tells_its_zones_what_is_left_and_what_is_at_stake():
    plan = plan_for(10, policy=default_policy("production"))
    waves = forecast(plan, zones_of(10), HISTORY, {"z0": 2})
    assert [wave.nodes for wave in waves] == [1, 2, 2, 5]
    assert [wave.changed_so_far for wave in waves] == [1, 3, 5, 10]
    assert [wave.gates for wave in waves] == [(), ("promotion",), (), ()]
    first = waves[0]
    assert (first.zones, first.left, first.margin) == ({"z0": 1}, {"z0": 3}, {"z0": 1})
    assert (first.blast.nodes, first.blast.share, first.blast.whole_zones) == (1, 0.1, ())
    assert waves[-1].blast.whole_zones == ("z0", "z1", "z2")
    assert all(wave.expected.typical is not None for wave in waves)


@given(count=st.integers(1, 60), strategy=st.sampled_from([Canary(), Direct(), Rolling(), BlueGreen()]))
@settings(max_examples=40, deadline=None)
def test_what_is_told_adds_up_to_the_plan(count, strategy):
    plan = plan_for(count, strategy=strategy)
    waves = forecast(plan, zones_of(count), {}, {})
    assert sum(wave.nodes for wave in waves) == waves[-1].blast.nodes == count
    assert [sum(wave.zones.values()) for wave in waves] == [wave.nodes for wave in waves]
    assert sum(len(wave.steps) for wave in waves) == len(plan.steps)
    assert [wave.blast.nodes for wave in waves] == [len(plan.changed_by(wave.wave)) for wave in waves]


def test_a_plan_differs_from_itself_in_nothing_even_after_a_way_through_json():
    plan = plan_for(10)
    assert difference(plan, Plan.model_validate_json(plan.model_dump_json())).empty


def test_a_difference_names_nodes_steps_and_fields():
    before = plan_for(10, strategy=Rolling(batch=5, max_unavailable=5, bake=30))
    after = plan_for(11, strategy=Rolling(batch=5, max_unavailable=5, bake=60))
    found = difference(before, after)
    assert not found.empty
    assert Moved(node="node-010", before=None, after=1) in found.nodes
    assert "bake wave 1 seconds=30.0" in found.steps_gone
    assert "bake wave 1 seconds=60.0" in found.steps_new
    assert described(Bake(wave=2, seconds=1)) == "bake wave 2 seconds=1.0"
    other = before.model_copy(update={"unsigned_votes": True})
    assert difference(before, other).fields == (Changed(field="unsigned_votes", before=False, after=True),)


@given(left=st.integers(1, 30), right=st.integers(1, 30))
@settings(max_examples=40, deadline=None)
def test_two_plans_differ_exactly_when_their_digests_do(left, right):
    one, other = plan_for(left, strategy=Rolling()), plan_for(right, strategy=Rolling())
    assert difference(one, other).empty == (one.digest == other.digest)
