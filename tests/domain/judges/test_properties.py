"""What no unit, order, name or odd number may change; what more data may not undo."""

import math

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from domain.analysis import Outcome
from domain.judges.registry import judge
from domain.judging import JudgePolicy
from domain.metrics import JudgeLook, MetricKind, MetricLook, MetricSpec, Side

JUDGES = ("sequential", "threshold", "mann-whitney")
STEPS = 5
GAUGE = MetricSpec(name="queue", kind=MetricKind.GAUGE, must_have_data=True)
RATIO = MetricSpec(
    name="failures", kind=MetricKind.RATIO, unit="%", margin=0.0, tolerance=1.0, must_have_data=True
)
LATENCY = MetricSpec(name="waiting", kind=MetricKind.LATENCY, unit="s", must_have_data=True)
BOUNDS = tuple((0.01 * 1.5 ** np.arange(14)).tolist())

quick = settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.too_slow])
seeds = st.integers(0, 10_000)
shifts = st.sampled_from([1.0, 1.1, 1.5, 3.0])
names = st.sampled_from(JUDGES)


def policy(name):
    return JudgePolicy(judge=name, planned_looks=6)


def rows(table):
    return tuple(tuple(row) for row in np.asarray(table).tolist())


def rollout(seed, shift, *, nodes=3, number=6, unit=1.0):
    """Looks at a gauge, a ratio and a latency of a few nodes; `unit` scales gauge and latency."""
    rng = np.random.default_rng(seed)
    found = []
    for look in range(number):
        width = 40 if look == 0 else 0
        sides = {}
        for side, factor in (("canary", shift), ("baseline", 1.0)):
            who = tuple(f"{side}-{index}" for index in range(nodes))
            level = 100 * factor * np.exp(0.05 * rng.standard_normal((nodes, STEPS)))
            past = 100 * np.exp(0.05 * rng.standard_normal((nodes, width)))
            asked = rng.poisson(400, (nodes, STEPS)).astype(float)
            failed = rng.binomial(asked.astype(int), 0.01 * factor).astype(float)
            waits = 0.1 * factor * np.exp(0.5 * rng.standard_normal((nodes, STEPS, 60)))
            edges = np.array([0.0, *BOUNDS, np.inf])
            counted = [[np.histogram(cell, edges)[0].astype(float).tolist() for cell in row] for row in waits]
            sides[side] = (who, level, past, asked, failed, counted)
        found.append(look_of(look + 1, sides, width, unit))
    return found


def look_of(number, sides, width, unit):
    gauge, ratio, latency = {}, {}, {}
    for side, (who, level, past, asked, failed, counted) in sides.items():
        gauge[side] = Side(nodes=who, values=rows(level * unit))
        if width:
            gauge[f"history_{side}"] = Side(nodes=who, values=rows(past * unit))
        ratio[side] = Side(nodes=who, values=rows(failed), exposure=rows(asked))
        latency[side] = Side(nodes=who, buckets=tuple(tuple(map(tuple, row)) for row in counted))
    bounds = tuple(bound * unit for bound in BOUNDS)
    return JudgeLook(
        number=number,
        start=60.0 * number,
        end=60.0 * number + 50,
        step=10,
        metrics=(
            MetricLook(spec=GAUGE, **gauge),
            MetricLook(spec=RATIO, **ratio),
            MetricLook(spec=LATENCY, bounds=bounds, **latency),
        ),
        canary_nodes=3,
        baseline_nodes=3,
    )


def judged(looks, name):
    state, said = None, []
    for look in looks:
        verdict, state = judge(policy(name), state, look)
        said.append(verdict)
    return said


def outcomes(verdicts):
    return [
        (
            verdict.outcome,
            verdict.doubt,
            *((each.metric, each.outcome, each.doubt) for each in verdict.metrics),
        )
        for verdict in verdicts
    ]


@quick
@given(
    seeds, shifts, st.sampled_from([1e-6, 1e-3, 1e3, 1e6]), st.sampled_from(["sequential", "mann-whitney"])
)
def test_the_unit_does_not_matter(seed, shift, unit, name):
    """The threshold judge has absolute floors by design; the others must not see the unit."""
    assert outcomes(judged(rollout(seed, shift), name)) == outcomes(
        judged(rollout(seed, shift, unit=unit), name)
    )


def rearranged(side, order, rename):
    parts = {
        field: tuple(getattr(side, field)[index] for index in order) if getattr(side, field) else ()
        for field in ("values", "exposure", "buckets")
    }
    return Side(nodes=tuple(rename(side.nodes[index]) for index in order), **parts)


def with_sides(look, change):
    metrics = [
        metric.model_copy(
            update={
                name: change(getattr(metric, name))
                for name in ("canary", "baseline", "history_canary", "history_baseline")
                if getattr(metric, name).nodes
            }
        )
        for metric in look.metrics
    ]
    return look.model_copy(update={"metrics": tuple(metrics)})


@quick
@given(seeds, shifts, st.permutations(range(3)), names)
def test_the_order_of_nodes_does_not_matter(seed, shift, order, name):
    plain = rollout(seed, shift)
    mixed = [with_sides(look, lambda side: rearranged(side, order, lambda node: node)) for look in plain]
    if name == "sequential":
        assert judged(plain, name) == judged(mixed, name)
    assert outcomes(judged(plain, name)) == outcomes(judged(mixed, name))


@quick
@given(seeds, shifts, names)
def test_the_names_of_nodes_do_not_matter(seed, shift, name):
    plain = rollout(seed, shift)
    order = range(3)
    renamed = [
        with_sides(look, lambda side: rearranged(side, order, lambda node: f"{9 - int(node[-1])}.{node}"))
        for look in plain
    ]
    assert outcomes(judged(plain, name)) == outcomes(judged(renamed, name))


@quick
@given(seeds, shifts)
def test_an_interval_cut_in_two_counts_the_same(seed, shift):
    """Events of a ratio: halves of an interval are as good as the whole."""

    def halved(side):
        def twice(table):
            return tuple(tuple(value / 2 for value in row for _ in range(2)) for row in table)

        return Side(nodes=side.nodes, values=twice(side.values), exposure=twice(side.exposure))

    plain = [look.model_copy(update={"metrics": look.metrics[1:2]}) for look in rollout(seed, shift)]
    cut = [with_sides(look, halved) for look in plain]
    for one, other in zip(judged(plain, "sequential"), judged(cut, "sequential"), strict=True):
        assert one.outcome == other.outcome
        assert math.isclose(one.metrics[0].evidence, other.metrics[0].evidence, rel_tol=1e-6)


@quick
@given(seeds, st.sampled_from([0.2, 1.0, 5.0]))
def test_what_is_common_to_both_sides_does_not_matter_to_a_gauge(seed, factor):
    rng = np.random.default_rng(seed)
    plain = [look.model_copy(update={"metrics": look.metrics[:1]}) for look in rollout(seed, 1.3)]
    common = []
    for look in plain:
        load = factor ** rng.random(STEPS)

        def loaded(side, load=load):
            return Side(nodes=side.nodes, values=rows(np.array(side.values) * load))

        metric = look.metrics[0]
        sides = {"canary": loaded(metric.canary), "baseline": loaded(metric.baseline)}
        common.append(look.model_copy(update={"metrics": (metric.model_copy(update=sides),)}))
    assert outcomes(judged(plain, "sequential")) == outcomes(judged(common, "sequential"))


@quick
@given(seeds, st.sampled_from([1.5, 3.0, 10.0]), st.integers(1, 4))
def test_more_of_the_same_never_turns_a_fail_into_a_pass(seed, shift, more):
    looks = rollout(seed, shift)
    again = [
        look.model_copy(update={"number": 6 + 6 * round_ + index})
        for round_ in range(more)
        for index, look in enumerate(looks, start=1)
    ]
    said = judged([*looks, *again], "sequential")
    failed = [index for index, verdict in enumerate(said) if verdict.outcome is Outcome.FAIL]
    if failed:
        assert all(verdict.outcome is Outcome.FAIL for verdict in said[failed[0] :])


odd = st.one_of(
    st.none(),
    st.sampled_from([math.nan, math.inf, -math.inf, 0.0, -0.0, 1e-308, 1e308, -1.0, 5e-324]),
    st.floats(allow_nan=True, allow_infinity=True),
)


@st.composite
def odd_looks(draw):
    width = draw(st.integers(0, 6))

    def side(kind):
        nodes = draw(st.integers(0, 3))

        def table():
            return tuple(tuple(draw(odd) for _ in range(width)) for _ in range(nodes))

        facts = {"values": table()} if width else {}
        if kind is MetricKind.RATIO and width:
            facts["exposure"] = table()
        return Side(nodes=tuple(f"n{index}" for index in range(nodes)), **facts)

    metrics = tuple(
        MetricLook(spec=spec, canary=side(spec.kind), baseline=side(spec.kind))
        for spec in (GAUGE, RATIO, LATENCY)
    )
    return JudgeLook(number=1, start=0, end=60, step=10, metrics=metrics)


@settings(
    max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large]
)
@given(odd_looks(), names)
def test_odd_numbers_have_an_answer_and_it_is_no_pass(look, name):
    verdict, state = judge(policy(name), None, look)
    again, _ = judge(policy(name), state, look.model_copy(update={"number": 2}))
    assert verdict.outcome is not Outcome.PASS
    assert again.looks == 2


@pytest.mark.parametrize("name", JUDGES)
def test_a_verdict_can_be_judged_again_bit_for_bit(name):
    looks = rollout(5, 1.1)
    state = None
    for look in looks:
        stored = JudgeLook.model_validate_json(look.model_dump_json())
        before = state.model_validate_json(state.model_dump_json()) if state else None
        verdict, after = judge(policy(name), state, look)
        assert judge(policy(name), before, stored) == (verdict, after)
        state = after
