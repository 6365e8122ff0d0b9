"""Guards: rules that can be, old plans' digests, and the shift of the clock."""

import pytest
from pydantic import ValidationError

from domain.analysis import Doubt, Outcome, Verdict
from domain.base import essence
from domain.guard import Against, GuardRule
from domain.guarding import Guarded, GuardInput, ending, guard_analysis, guard_shift, look_back
from domain.metrics import MetricKind, MetricSpec
from domain.providers import PrometheusSource

SOURCE = PrometheusSource(
    spec=MetricSpec(name="load", kind=MetricKind.GAUGE, unit="", margin=0.1, tolerance=0.5),
    address="http://prometheus:9090",
    query="load",
)


def guard(**fields) -> GuardRule:
    return GuardRule(**{"seconds": 600, **fields})


def request(rule: GuardRule, **fields) -> GuardInput:
    usual = {"tenant": "acme", "environment": "production", "deployment": "d1", "module": "greeter"}
    return GuardInput(**usual, version="2.0.0", nodes=("node-1",), wave=2, rule=rule, **fields)


def test_what_was_added_to_the_rule_changes_no_digest():
    assert essence(guard()) == {"seconds": 600.0}
    assert essence(guard(against="recorded")) == {"seconds": 600.0, "against": "recorded"}


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"seconds": 30}, "interval"),
        ({"seconds": 86400, "interval": 10}, "more than 1000 looks"),
        ({"seconds": 0}, "seconds"),
        ({"misses": 0}, "misses"),
        ({"sources": (SOURCE,)}, "say against recorded or before"),
        ({"against": "recorded", "judge": "sequential"}, "windows that overlap"),
        ({"against": "recorded", "whole": 86400}, "goes with against before"),
        ({"against": "recorded", "window": 900}, "agents remember 840 s"),
        ({"against": "before", "seconds": 3600}, "agents remember 840 s"),
        ({"against": "before", "whole": 86400}, "agents remember 840 s"),
        ({"against": "before", "sources": (SOURCE, SOURCE)}, "load occurs twice"),
        ({"metrics": (SOURCE.spec,)}, "agents do not measure load"),
    ],
)
def test_a_rule_that_cannot_be_is_refused(wrong, words):
    with pytest.raises(ValidationError, match=words):
        guard(**wrong)


def test_judges_are_those_that_fit():
    assert guard(against="before").judged_by == "sequential"
    assert guard(against="recorded").judged_by == "threshold"
    assert guard(against="before", judge="threshold").judged_by == "threshold"


def test_what_follows_the_traffic_is_left_out_unless_asked_for():
    assert [spec.name for spec in guard().metrics] == ["errors", "latency", "unhealthy"]


def test_every_moment_of_the_guard_has_one_before_the_rollout():
    rule = guard(against="before")
    assert guard_shift(rule, 100) == 100 + 600 + 60
    long = guard(against="before", seconds=7200, whole=86400, metrics=(), sources=(SOURCE,))
    assert guard_shift(long, 100) == 86400
    assert guard_shift(long, 80_000) == 2 * 86400
    assert guard_shift(guard(against="recorded"), 100) is None
    assert (look_back(rule, 300), look_back(guard(window=90), 300)) == (300, 90)


@pytest.mark.parametrize(
    ("rule", "against", "shift"),
    [
        (guard(), "health", 0.0),
        (guard(against="recorded"), "recorded", 0.0),
        (guard(against="before"), "before", 760.0),
    ],
)
def test_a_guard_is_an_analysis_of_its_own(rule, against, shift):
    analysis = guard_analysis(request(rule, began=900.0), 1000.0)
    assert (analysis.analysis, analysis.against, analysis.baseline) == ("guard-d1", against, ())
    assert (analysis.clock_shift, analysis.began) == (shift, 900.0)
    assert analysis.rule.judge_policy().planned_looks == 10
    assert guard_analysis(request(rule), 1000.0).began == 1000.0


def test_what_was_never_judged_is_not_called_good():
    stands = Guarded(opened=0.0, looks=10)
    passed = Verdict(outcome=Outcome.PASS, reason="fine")
    assert ending(guard(), stands, passed) == "no breach in 600 s after completion"
    blind = Verdict(outcome=Outcome.INCONCLUSIVE, doubt=Doubt.PROVIDER_DOWN, reason="nobody answers")
    words = ending(guard(), stands.model_copy(update={"doubts": 10}), blind)
    assert "10 of 10 looks could not judge" in words
    assert "inconclusive: nobody answers" in words


def test_a_rule_is_read_from_what_people_write():
    rule = GuardRule.model_validate({"seconds": 600, "against": "before", "judge": "threshold"})
    assert rule.against is Against.BEFORE
