"""The sequential judge as the rollout meets it: looks in, verdicts out."""

import numpy as np
import pytest

from bench.judge_input import CPU, ERRORS, LATENCY, MEMORY, looks
from bench.judge_world import Scenario, simulate
from domain.analysis import Doubt, Outcome
from domain.judges.sequential import judge
from domain.judging import JudgePolicy, JudgeState
from domain.metrics import Direction, JudgeLook, MetricKind, MetricLook, MetricSpec, Side

POLICY = JudgePolicy(planned_looks=12)


def rollout(
    scenario: Scenario, *, seed: int = 1, specs=(ERRORS, LATENCY, CPU, MEMORY), policy=POLICY, change=None
):
    """The verdict after each look; the state goes through JSON in between, as in the store."""
    canary, baseline = simulate(scenario, 1, np.random.default_rng(1))
    state, verdicts = None, []
    for look in looks(canary, baseline, 0, specs):
        verdict, state = judge(POLICY, state, change(look) if change else look)
        state = JudgeState.model_validate_json(state.model_dump_json())
        verdicts.append(verdict)
    return verdicts


def named(verdict, name):
    return next(metric for metric in verdict.metrics if metric.metric == name)


def test_a_harmless_release_passes_only_with_a_certificate():
    verdicts = rollout(Scenario("harmless", rpm=6000.0))
    last = verdicts[-1]
    assert last.outcome is Outcome.PASS
    for metric in last.metrics:
        assert metric.certificate.holds
        assert metric.certificate.largest <= metric.certificate.tolerance
        assert "× baseline" in metric.reason
        assert metric.ratio.low < 1 < metric.ratio.high


@pytest.mark.finding("10")
def test_too_little_traffic_is_underpowered_and_says_what_is_missing():
    last = rollout(Scenario("quiet", rpm=60.0))[-1]
    errors = named(last, "errors")
    assert (last.outcome, last.doubt) == (Outcome.INCONCLUSIVE, Doubt.UNDERPOWERED)
    assert errors.doubt is Doubt.UNDERPOWERED
    assert errors.needs.events > 10
    assert errors.needs.minutes > 60
    assert "more events" in errors.reason


@pytest.mark.parametrize(
    ("effect", "metric", "by"),
    [({"latency": 1.5}, "latency", 1), ({"errors": 10.0}, "errors", 1), ({"memory": 1.5}, "memory", 1)],
)
def test_a_regression_fails_early_and_stays_failed(effect, metric, by):
    verdicts = rollout(Scenario("bad", effect=effect))
    first = next(index for index, each in enumerate(verdicts, start=1) if each.outcome is Outcome.FAIL)
    assert first <= by
    assert all(each.outcome is Outcome.FAIL for each in verdicts[first - 1 :])
    failed = named(verdicts[-1], metric)
    assert failed.evidence >= failed.needed
    assert failed.ratio.low > 1


def test_a_regression_that_begins_in_the_middle_is_found():
    verdicts = rollout(Scenario("late", effect={"latency": 1.5}, starts=30))
    assert [each.outcome for each in verdicts[:6]].count(Outcome.FAIL) == 0
    assert verdicts[7].outcome is Outcome.FAIL


def test_one_bad_node_is_named_and_is_no_fail():
    verdicts = rollout(Scenario("sick", nodes=5, bad_node=True, effect={"latency": 2.0, "errors": 30.0}))
    assert all(each.outcome is not Outcome.FAIL for each in verdicts)
    assert verdicts[-1].outliers == ("c00",)
    assert "c00" in named(verdicts[-1], "latency").reason


def test_a_sick_baseline_node_makes_the_baseline_bad():
    canary, baseline = simulate(
        Scenario("sick", nodes=4, bad_node=True, effect={"latency": 0.4}), 1, np.random.default_rng(3)
    )
    state = None
    for look in looks(baseline, canary, 0, (LATENCY,)):
        verdict, state = judge(POLICY, state, look)
    assert (verdict.outcome, verdict.doubt) == (Outcome.INCONCLUSIVE, Doubt.BASELINE_BAD)


def test_a_real_regression_on_every_node_fails():
    verdicts = rollout(Scenario("bad", nodes=5, effect={"latency": 1.5}))
    assert verdicts[1].outcome is Outcome.FAIL
    assert verdicts[-1].outliers == ()


def test_a_traffic_step_is_no_regression():
    verdicts = rollout(Scenario("step", rpm=6000.0, traffic=(0.1, 0.3, 0.5)))
    assert verdicts[-1].outcome is Outcome.PASS


def test_a_wrong_split_is_invalid_whatever_the_metrics_say():
    def intended(look):
        return look.model_copy(update={"expected_share": 0.25})

    last = rollout(Scenario("split", rpm=6000.0), change=intended)[-1]
    assert (last.outcome, last.doubt) == (Outcome.INCONCLUSIVE, Doubt.SAMPLE_RATIO)
    right = rollout(
        Scenario("split", rpm=6000.0), change=lambda look: look.model_copy(update={"expected_share": 0.5})
    )
    assert right[-1].outcome is Outcome.PASS


def test_a_baseline_that_is_none_is_invalid():
    last = rollout(
        Scenario("fault"),
        change=lambda look: look.model_copy(update={"baseline_fault": "it runs 2.0.0 itself"}),
    )[-1]
    assert (last.outcome, last.doubt, last.reason) == (
        Outcome.INCONCLUSIVE,
        Doubt.BASELINE_BAD,
        "it runs 2.0.0 itself",
    )


def silenced(look: JudgeLook) -> JudgeLook:
    metrics = tuple(
        metric.model_copy(update={"canary": Side(nodes=metric.canary.nodes)}) for metric in look.metrics
    )
    return look.model_copy(update={"metrics": metrics})


@pytest.mark.finding("10")
def test_a_canary_that_goes_silent_does_not_pass_on_what_it_said_before():
    last = rollout(
        Scenario("silence", rpm=6000.0), change=lambda look: silenced(look) if look.number > 10 else look
    )[-1]
    assert (last.outcome, last.doubt) == (Outcome.INCONCLUSIVE, Doubt.NO_DATA)


def test_an_outage_of_the_provider_is_no_fail_and_no_pass_and_does_not_undo_a_fail():
    def down(look):
        gone = tuple(each.model_copy(update={"provider_down": "timed out"}) for each in look.metrics)
        return look.model_copy(update={"metrics": gone}) if look.number > 3 else look

    harmless = rollout(Scenario("outage", rpm=6000.0), change=down)[-1]
    assert (harmless.outcome, harmless.doubt) == (Outcome.INCONCLUSIVE, Doubt.PROVIDER_DOWN)
    assert rollout(Scenario("outage", effect={"latency": 2.0}), change=down)[-1].outcome is Outcome.FAIL


def test_a_muted_metric_is_shown_and_has_no_say():
    muted = LATENCY.model_copy(update={"dry_run": True})
    last = rollout(
        Scenario("muted", rpm=6000.0, effect={"latency": 1.5}), specs=(ERRORS, muted, CPU, MEMORY)
    )[-1]
    assert named(last, "latency").outcome is Outcome.FAIL
    assert last.outcome is Outcome.PASS


# Odd input: a defined answer, never an exception, never a pass.

GAUGE = MetricSpec(name="queue", kind=MetricKind.GAUGE, must_have_data=True)
RATIO = MetricSpec(name="errors", kind=MetricKind.RATIO, unit="%", margin=0.0, tolerance=1.0, floor=0.005)


def one_look(spec, canary, baseline, number=1, **facts):
    metric = MetricLook(spec=spec, canary=canary, baseline=baseline, **facts)
    return JudgeLook(number=number, start=0, end=60, step=10, metrics=(metric,))


@pytest.mark.parametrize(
    ("values", "others"),
    [
        ((), ()),
        ((1.0,), (1.0,)),
        ((float("nan"),) * 6, (1.0,) * 6),
        ((float("inf"),) * 6, (1.0,) * 6),
        ((1e308,) * 6, (1e-308,) * 6),
        ((0.0,) * 6, (0.0,) * 6),
        ((-1.0,) * 6, (-2.0,) * 6),
        ((None, 1.0, None, 1.0, None, 1.0), (None,) * 6),
    ],
)
def test_odd_gauges_have_an_answer_and_it_is_no_pass(values, others):
    look = one_look(GAUGE, Side(nodes=("a",), values=(values,)), Side(nodes=("b",), values=(others,)))
    verdict, state = judge(POLICY, None, look)
    assert verdict.outcome is not Outcome.PASS
    again, _ = judge(POLICY, state, look.model_copy(update={"number": 2}))
    assert again.outcome is not Outcome.PASS or set(values) == {0.0}


def test_zero_errors_on_both_sides_pass_by_the_floor_and_not_before():
    def sides(requests):
        side = {"values": ((0.0,) * 6,), "exposure": ((requests,) * 6,)}
        return Side(nodes=("a",), **side), Side(nodes=("b",), **side)

    few, _ = judge(POLICY, None, one_look(RATIO, *sides(10.0)))
    assert (few.outcome, few.doubt) == (Outcome.INCONCLUSIVE, Doubt.UNDERPOWERED)
    wanted = few.metrics[0].needs.minutes
    assert 10 < wanted < 30  # about 1,200 requests at 60 a minute
    many, _ = judge(POLICY, None, one_look(RATIO, *sides(500.0)))
    assert many.outcome is Outcome.PASS
    assert "below the floor of 0.5 %" in many.reason


def test_a_gauge_that_never_reaches_its_floor_passes_whatever_the_ratio():
    spec = GAUGE.model_copy(update={"floor": 100.0})

    def ask(level):
        return one_look(
            spec, Side(nodes=("a",), values=((level,) * 6,)), Side(nodes=("b",), values=((10.0,) * 6,))
        )

    below, state = judge(POLICY, None, ask(40.0))
    assert below.outcome is Outcome.PASS
    assert "below the floor" in below.reason
    above, _ = judge(POLICY, state, ask(400.0).model_copy(update={"number": 2}))
    assert above.outcome is not Outcome.PASS


@pytest.mark.finding("10")
def test_errors_against_a_baseline_of_zero_need_no_division():
    canary = Side(nodes=("a",), values=((5.0,) * 6,), exposure=((100.0,) * 6,))
    baseline = Side(nodes=("b",), values=((0.0,) * 6,), exposure=((100.0,) * 6,))
    verdict, _ = judge(POLICY, None, one_look(RATIO, canary, baseline))
    assert verdict.outcome is Outcome.FAIL


def test_a_metric_that_only_one_side_has_is_no_data():
    canary = Side(nodes=("a",), values=((5.0,) * 6,))
    verdict, _ = judge(POLICY, None, one_look(GAUGE, canary, Side(nodes=("b",))))
    assert (verdict.outcome, verdict.doubt) == (Outcome.INCONCLUSIVE, Doubt.NO_DATA)


@pytest.mark.parametrize(
    ("direction", "factor", "outcome"),
    [
        (Direction.DECREASE, 0.5, Outcome.FAIL),
        (Direction.DECREASE, 2.0, Outcome.PASS),
        (Direction.EITHER, 0.5, Outcome.FAIL),
        (Direction.EITHER, 2.0, Outcome.FAIL),
        (Direction.EITHER, 1.0, Outcome.PASS),
    ],
)
def test_a_regression_may_be_a_decrease(direction, factor, outcome):
    spec = CPU.model_copy(update={"direction": direction})
    verdicts = rollout(Scenario("way", phi=False, effect={"cpu": factor}), specs=(spec,))
    assert verdicts[-1].outcome is outcome


def test_nodes_that_appear_or_vanish_between_looks_are_no_error():
    canary, baseline = simulate(Scenario("change", nodes=4), 1, np.random.default_rng(4))
    state = None
    for look in looks(canary, baseline, 0):
        if look.number > 3:
            look = without_a_node(look)
        verdict, state = judge(POLICY, state, look)
        assert verdict.doubt is not Doubt.ERROR


def without_a_node(look: JudgeLook) -> JudgeLook:
    def fewer(side: Side) -> Side:
        parts = {name: getattr(side, name)[1:] for name in ("nodes", "values", "exposure", "buckets")}
        return Side(**parts)

    metrics = [each.model_copy(update={"canary": fewer(each.canary)}) for each in look.metrics]
    return look.model_copy(update={"metrics": tuple(metrics)})
