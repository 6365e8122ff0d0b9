"""Condition checks in the judge's words, alone and beside a judge's verdict."""

import pytest

from domain.analysis import Doubt, MetricVerdict, Outcome, Verdict
from domain.conditions.measurement import Measurement
from domain.conditions.metric import ConditionMetric, MetricPhase
from domain.conditions.progress import MetricProgress, counted
from domain.conditions.run import assess_run
from domain.measuring import CheckProgress, condition_verdicts, judged_metric, with_conditions
from domain.providers import CommandProvider, ConditionCheck, PrometheusProvider, filled, placeholders

PROVIDER = PrometheusProvider(address="http://127.0.0.1:9090", query="up")
METRIC = ConditionMetric(name="errors", success_condition="result < 1")
CHECK = ConditionCheck(metric=METRIC, provider=PROVIDER)


def after(*phases: str) -> dict[str, MetricProgress]:
    progress = MetricProgress(name="errors")
    for phase in phases:
        progress = counted(progress, Measurement(phase=MetricPhase(phase), value="3", finished=1.0))
    return {"errors": progress}


def verdict_of(*phases: str, outages: int = 0, terminate: bool = False) -> MetricVerdict:
    progress = after(*phases)
    run = assess_run([METRIC], progress, terminate=terminate)
    known = CheckProgress(metric=progress["errors"], outages=outages, outage="refused the connection")
    (found,) = condition_verdicts([CHECK], run, {"errors": known})
    return found


@pytest.mark.parametrize(
    ("phases", "outcome", "doubt"),
    [
        (["successful"], Outcome.PASS, None),
        (["failed"], Outcome.FAIL, None),
        (["inconclusive"], Outcome.INCONCLUSIVE, Doubt.NO_DATA),
        (["error"] * 5, Outcome.INCONCLUSIVE, Doubt.ERROR),
        ([], Outcome.INCONCLUSIVE, Doubt.NO_DATA),
    ],
)
def test_a_phase_as_an_outcome(phases, outcome, doubt):
    found = verdict_of(*phases)
    assert (found.outcome, found.doubt) == (outcome, doubt)
    assert found.reason.startswith("errors: ")


def test_a_provider_that_does_not_answer_is_said_to():
    found = verdict_of(outages=31, terminate=True)
    assert (found.outcome, found.doubt) == (Outcome.INCONCLUSIVE, Doubt.PROVIDER_DOWN)
    assert "refused the connection" in found.reason


@pytest.mark.parametrize(
    ("judge", "phases", "outcome"),
    [
        (Outcome.PASS, ["failed"], Outcome.FAIL),
        (Outcome.PASS, ["inconclusive"], Outcome.INCONCLUSIVE),
        (Outcome.PASS, ["successful"], Outcome.PASS),
        (Outcome.FAIL, ["successful"], Outcome.FAIL),
        (Outcome.INCONCLUSIVE, ["successful"], Outcome.INCONCLUSIVE),
        (Outcome.INCONCLUSIVE, ["failed"], Outcome.FAIL),
    ],
)
def test_the_worse_of_judge_and_conditions_decides(judge, phases, outcome):
    judged = Verdict(outcome=judge, reason="the judge's", looks=3)
    found = with_conditions(judged, (verdict_of(*phases),))
    assert (found.outcome, found.looks, len(found.metrics)) == (outcome, 3, 1)


def test_dry_run_conditions_have_no_say():
    check = CHECK.model_copy(update={"metric": METRIC.model_copy(update={"dry_run": True})})
    run = assess_run([check.metric], after("failed"))
    judged = Verdict(outcome=Outcome.PASS, reason="the judge's")
    found = with_conditions(judged, condition_verdicts([check], run, {}))
    assert found.outcome is Outcome.PASS
    assert found.metrics[0].outcome is Outcome.FAIL


def test_a_command_without_conditions_is_judged_by_its_exit_code():
    check = ConditionCheck(metric=ConditionMetric(name="smoke"), provider=CommandProvider(command="smoke"))
    assert judged_metric(check).success_condition == "result.exit == 0"
    assert judged_metric(CHECK) is METRIC


def test_placeholders():
    assert placeholders("a {{x}} {{ y }} {{x}}") == ("x", "y")
    body = {"q": ["{{module}}", {"v": "{{ version }}-{{other}}"}], "n": 1}
    assert filled(body, {"module": "greeter", "version": "2"}) == {
        "q": ["greeter", {"v": "2-{{other}}"}],
        "n": 1,
    }
