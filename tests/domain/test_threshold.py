"""The threshold judge: what it fails, what it passes, and above all what it will not say."""

import pytest

from domain.agent_metrics import AGENT_METRICS, judge_look, metric_looks
from domain.analysis import Doubt, Outcome
from domain.increments import NodeIntervals, silent
from domain.judges.threshold import judge as judge_looks
from domain.judging import JudgePolicy
from domain.metrics import Direction, JudgeLook, MetricKind, MetricLook, MetricSpec, Side
from domain.wire import Histogram

POLICY = JudgePolicy(judge="threshold")
PARTS = 4


def node(
    name: str = "n", *, requests=1000.0, errors=0.0, slow=0.0, cpu=0.1, memory=50e6, **facts
) -> NodeIntervals:
    """A node whose requests take up to 10 ms, but for the share `slow`, which takes up to 200 ms."""
    each = requests / PARTS if requests is not None else None
    latency = None
    if each is not None:
        latency = Histogram(
            bounds=(0.01, 0.2), counts=(each * (1 - slow), each), count=each, total=each * 0.005
        )
    window = {
        "node": name,
        "samples": 20,
        "requests": [each] * PARTS,
        "errors": [errors / PARTS if errors is not None else None] * PARTS,
        "cpu_cores": [cpu] * PARTS,
        "memory_bytes": [memory] * PARTS,
        "probes": [5.0] * PARTS,
        "unhealthy": [facts.pop("unhealthy", 0) / PARTS] * PARTS,
        "latency": [latency] * PARTS,
    }
    return NodeIntervals(**{**window, **facts})


def judge(canary, baseline, number=1, state=None):
    metrics = metric_looks(AGENT_METRICS, canary, baseline, (), ())
    look = judge_look(number, start=0.0, end=20.0, metrics=metrics, groups=(canary, baseline), even=False)
    verdict, kept = judge_looks(POLICY, state, look)
    return (verdict, kept) if number > 1 or state else verdict


BASELINE = [node(f"b{index}") for index in range(3)]


def outcome_of(canary: NodeIntervals, metric: str, baseline=BASELINE):
    verdict = judge([canary], baseline)
    return verdict, {each.metric: each for each in verdict.metrics}[metric]


def test_equal_sides_pass_with_every_number_shown():
    verdict = judge([node()], BASELINE)
    assert verdict.outcome is Outcome.PASS
    assert {metric.metric for metric in verdict.metrics} == {
        "errors",
        "latency",
        "unhealthy",
        "cpu",
        "memory",
    }
    assert all(metric.canary is not None and metric.limit is not None for metric in verdict.metrics)


@pytest.mark.parametrize(
    ("canary", "metric"),
    [
        (node(errors=80.0), "errors"),
        (node(slow=0.5), "latency"),
        (node(unhealthy=10), "unhealthy"),
        (node(cpu=0.9), "cpu"),
        (node(memory=200e6), "memory"),
    ],
)
def test_a_regression_fails_and_names_its_metric(canary, metric):
    verdict, named = outcome_of(canary, metric)
    assert verdict.outcome is Outcome.FAIL
    assert named.outcome is Outcome.FAIL
    assert named.reason in verdict.reason


@pytest.mark.finding("10")
def test_a_zero_baseline_needs_no_division_and_one_error_is_no_verdict():
    verdict, _ = outcome_of(node(errors=1.0, requests=100.0), "errors")
    assert verdict.outcome is Outcome.INCONCLUSIVE
    assert verdict.doubt is Doubt.UNDERPOWERED
    assert judge([node(errors=1.0)], BASELINE).outcome is Outcome.PASS


def test_too_few_requests_never_pass():
    verdict, _ = outcome_of(node(requests=10.0), "errors")
    assert (verdict.outcome, verdict.doubt) == (Outcome.INCONCLUSIVE, Doubt.UNDERPOWERED)


@pytest.mark.finding("10")
def test_nothing_measured_on_one_side_never_passes():
    nobody = silent("n", PARTS)
    assert judge([nobody], BASELINE).outcome is Outcome.INCONCLUSIVE
    assert judge([node()], [nobody]).outcome is Outcome.INCONCLUSIVE
    assert judge([nobody], [nobody]).doubt is Doubt.NO_DATA
    assert judge([], []).doubt is Doubt.NO_DATA


def test_a_fail_outweighs_doubt():
    canary = node(requests=10.0, memory=500e6)
    assert judge([canary], BASELINE).outcome is Outcome.FAIL


def test_a_module_without_metrics_is_judged_on_health_cpu_and_memory():
    bare = {"requests": None, "errors": None}
    verdict = judge([node(**bare)], [node(f"b{index}", **bare) for index in range(3)])
    assert verdict.outcome is Outcome.PASS
    assert {metric.metric for metric in verdict.metrics} == {"unhealthy", "cpu", "memory"}


def test_looks_add_up():
    quiet = [node(requests=40.0)], [node("b", requests=40.0)]
    first = judge(*quiet)
    assert first.doubt is Doubt.UNDERPOWERED
    _, state = judge(*quiet, number=2)
    verdict, _ = judge(*quiet, number=2, state=state)
    assert verdict.outcome is Outcome.PASS


@pytest.mark.parametrize(
    ("direction", "value", "outcome"),
    [
        (Direction.DECREASE, 70.0, Outcome.FAIL),
        (Direction.DECREASE, 130.0, Outcome.PASS),
        (Direction.EITHER, 70.0, Outcome.FAIL),
        (Direction.EITHER, 130.0, Outcome.FAIL),
        (Direction.EITHER, 110.0, Outcome.PASS),
    ],
)
def test_a_metric_of_ones_own_has_its_tolerance_and_direction(direction, value, outcome):
    spec = MetricSpec(name="throughput", kind=MetricKind.GAUGE, direction=direction, tolerance=0.25)
    metric = MetricLook(
        spec=spec,
        canary=Side(nodes=("a",), values=((value,) * 4,)),
        baseline=Side(nodes=("b",), values=((100.0,) * 4,)),
    )
    verdict, _ = judge_looks(POLICY, None, JudgeLook(number=1, start=0, end=4, step=1, metrics=(metric,)))
    assert verdict.outcome is outcome


def test_an_outage_of_the_provider_is_not_the_release():
    spec = MetricSpec(name="queue", kind=MetricKind.GAUGE)
    metric = MetricLook(spec=spec, provider_down="connection refused")
    verdict, _ = judge_looks(POLICY, None, JudgeLook(number=1, start=0, end=4, step=1, metrics=(metric,)))
    assert (verdict.outcome, verdict.doubt) == (Outcome.INCONCLUSIVE, Doubt.PROVIDER_DOWN)
