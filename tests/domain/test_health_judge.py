"""The judge of what stands alone: absolute limits, and no pass without a measurement."""

import pytest

from domain.analysis import Doubt, Outcome
from domain.health import HealthLimits
from domain.judges.health import judge
from domain.windows import NodeWindow
from domain.wire import Histogram

LIMITS = HealthLimits()


def node(name: str = "n", *, requests=1000.0, slow=0.0, **facts) -> NodeWindow:
    """A node whose requests take up to 10 ms, but for the share `slow`, which takes up to 200 ms."""
    counts = (requests * (1 - slow), requests)
    window = {
        "node": name,
        "samples": 20,
        "seconds": 20.0,
        "requests": requests,
        "errors": 0.0,
        "latency": Histogram(bounds=(0.01, 0.2), counts=counts, count=requests, total=requests * 0.005),
        "cpu_cores": 0.1,
        "memory_bytes": 50e6,
        "probes": 20,
    }
    return NodeWindow(**{**window, **facts})


def test_healthy_nodes_pass_with_their_numbers():
    verdict = judge([node("a"), node("b", errors=5.0)], LIMITS)
    assert verdict.outcome is Outcome.PASS
    assert [metric.metric for metric in verdict.metrics] == ["unhealthy", "errors"]
    assert all(metric.canary is not None and metric.limit is not None for metric in verdict.metrics)


def test_requests_that_nobody_sends_are_no_evidence_against_a_release():
    verdict = judge([node(requests=0.0, latency=None)], LIMITS)
    assert (verdict.outcome, [metric.metric for metric in verdict.metrics]) == (Outcome.PASS, ["unhealthy"])


@pytest.mark.parametrize(
    ("sick", "words"),
    [
        (node("bad", unhealthy=10), "unhealthy 50 % on bad, above the limit of 10 %"),
        (node("bad", errors=100.0), "errors 5 % of 2000 requests, above the limit of 1 %"),
    ],
)
def test_one_limit_that_is_broken_fails_and_is_named(sick, words):
    verdict = judge([node("a"), sick], LIMITS)
    assert verdict.outcome is Outcome.FAIL
    assert words in verdict.reason


def test_latency_has_a_limit_only_where_one_is_set():
    slow = [node(slow=0.5)]
    assert judge(slow, LIMITS).outcome is Outcome.PASS
    verdict = judge(slow, HealthLimits(latency=0.05))
    assert (verdict.outcome, "latency" in verdict.reason) == (Outcome.FAIL, True)


@pytest.mark.parametrize(
    ("nodes", "doubt"),
    [
        ([], Doubt.NO_DATA),
        ([node(probes=0, requests=0.0, latency=None)], Doubt.NO_DATA),
        ([node("a"), node("silent", samples=0, probes=0, requests=0.0, latency=None)], Doubt.UNDERPOWERED),
    ],
)
def test_what_was_not_measured_is_never_a_pass(nodes, doubt):
    verdict = judge(nodes, LIMITS)
    assert (verdict.outcome, verdict.doubt) == (Outcome.INCONCLUSIVE, doubt)
