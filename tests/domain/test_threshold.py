"""The threshold judge: what it fails, what it passes, and above all what it will not say."""

import pytest

from domain.analysis import Doubt, Outcome
from domain.judges.threshold import judge
from domain.judging import Thresholds
from domain.windows import NodeWindow
from domain.wire import Histogram

LIMITS = Thresholds()


def node(
    name: str = "n", *, requests=1000.0, errors=0.0, slow=0.0, cpu=0.1, memory=50e6, **facts
) -> NodeWindow:
    """A node whose requests take up to 10 ms, but for the share `slow`, which takes up to 200 ms."""
    quick = requests * (1 - slow)
    latency = Histogram(bounds=(0.01, 0.2), counts=(quick, requests), count=requests, total=requests * 0.005)
    window = {
        "node": name,
        "samples": 20,
        "seconds": 20.0,
        "requests": requests,
        "errors": errors,
        "latency": latency,
        "cpu_cores": cpu,
        "memory_bytes": memory,
        "probes": 20,
        "unhealthy": 0,
    }
    return NodeWindow(**{**window, **facts})


BASELINE = [node(f"b{index}") for index in range(3)]


def outcome_of(canary: NodeWindow, metric: str, baseline=BASELINE):
    verdict = judge([canary], baseline, LIMITS)
    return verdict, {each.metric: each for each in verdict.metrics}[metric]


def test_equal_sides_pass_with_every_number_shown():
    verdict = judge([node()], BASELINE, LIMITS)
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


def test_a_zero_baseline_needs_no_division_and_one_error_is_no_verdict():
    verdict, _ = outcome_of(node(errors=1.0, requests=100.0), "errors")
    assert verdict.outcome is Outcome.INCONCLUSIVE
    assert verdict.doubt is Doubt.UNDERPOWERED
    assert judge([node(errors=1.0)], BASELINE, LIMITS).outcome is Outcome.PASS


def test_too_few_requests_never_pass():
    verdict, _ = outcome_of(node(requests=10.0), "errors")
    assert (verdict.outcome, verdict.doubt) == (Outcome.INCONCLUSIVE, Doubt.UNDERPOWERED)


def test_nothing_measured_on_one_side_never_passes():
    silent = NodeWindow(node="n")
    assert judge([silent], BASELINE, LIMITS).outcome is Outcome.INCONCLUSIVE
    assert judge([node()], [silent], LIMITS).outcome is Outcome.INCONCLUSIVE
    assert judge([silent], [silent], LIMITS).doubt is Doubt.NO_DATA
    assert judge([], [], LIMITS).doubt is Doubt.NO_DATA


def test_a_fail_outweighs_doubt():
    canary = node(requests=10.0, memory=500e6)
    assert judge([canary], BASELINE, LIMITS).outcome is Outcome.FAIL


def test_a_module_without_metrics_is_judged_on_health_cpu_and_memory():
    bare = {"requests": None, "errors": None, "latency": None}
    verdict = judge(
        [node().model_copy(update=bare)], [each.model_copy(update=bare) for each in BASELINE], LIMITS
    )
    assert verdict.outcome is Outcome.PASS
    assert {metric.metric for metric in verdict.metrics} == {"unhealthy", "cpu", "memory"}
