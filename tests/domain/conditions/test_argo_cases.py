"""Facts from Argo Rollouts' own tests (tests/cases/argo.json): with Argo's semantics we answer the same.

Where we differ on purpose, the second table says what we answer instead.
"""

import json
import math
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from domain.conditions.expression import Expression
from domain.conditions.measurement import Measurement, phase_of, shown
from domain.conditions.metric import ARGO, OURS, ConditionMetric, MetricPhase
from domain.conditions.progress import MetricProgress, assess, counted, over_limit, terminated
from domain.conditions.run import assess_run, due, is_terminating, matching, next_due, worse, worst
from domain.errors import InvalidInput

NOW = 1_000_000.0
CASES = json.loads((Path(__file__).parents[2] / "cases" / "argo.json").read_text())["cases"]

# score_to_phase is about Argo's Kayenta provider, which asks a Kayenta server; we judge ourselves.
# The limits of these cases are checked when a template is read: see test_argo_template.py.
NOT_HERE = {"score_to_phase", "validation"}


def of(kind: str) -> list[Any]:
    return [
        pytest.param(case["input"], case["expect"], id=case["id"]) for case in CASES if case["kind"] == kind
    ]


def seconds(text: str | None) -> float | None:
    units = {"s": 1, "m": 60, "h": 3600}
    return float(text[:-1]) * units[text[-1]] if text else None


def metric(fields: dict[str, Any], dry_run: list[str] | tuple[str, ...] = ()) -> ConditionMetric:
    name = fields.get("name", "metric")
    return ConditionMetric.model_construct(
        **(
            ConditionMetric(name=name).model_dump()
            | {
                "interval": seconds(fields.get("interval")),
                "initial_delay": seconds(fields.get("initialDelay")) or 0,
                "count": fields.get("count") or None,
                "success_condition": fields.get("successCondition") or None,
                "failure_condition": fields.get("failureCondition") or None,
                "failure_limit": fields.get("failureLimit", 0),
                "inconclusive_limit": fields.get("inconclusiveLimit", 0),
                "consecutive_success_limit": fields.get("consecutiveSuccessLimit", 0),
                "dry_run": name in dry_run,
            }
        )
    )


def measured(phase: str, ago: float | None = 0, resume: float | None = None) -> Measurement:
    ended = None if phase in {"Running", "Pending"} or ago is None else NOW - ago
    return Measurement(
        phase=MetricPhase(phase.lower()),
        finished=ended,
        resume_at=None if resume is None else NOW + resume,
    )


def progress(fields: dict[str, Any]) -> MetricProgress:
    measurements = [measured(phase) for phase in fields.get("measurements", [])]
    if last := fields.get("last"):
        measurements = [measured(last["phase"], last["finishedSecondsAgo"], last.get("resumeInSeconds"))]
    counters = ("count", "successful", "failed", "inconclusive", "error")
    return MetricProgress(
        name=fields.get("name", "metric"),
        phase=MetricPhase((fields.get("phase") or "pending").lower()),
        message=fields.get("message", ""),
        consecutive_error=fields.get("consecutiveError", 0),
        consecutive_success=fields.get("consecutiveSuccess", 0),
        measurements=tuple(measurements),
        **{name: fields.get(name, 0) for name in counters},
    )


def result_of(given: dict[str, Any]) -> Any:
    special = given.get("provider") == "prometheus" and isinstance(given["result"], str)
    return float(given["result"]) if special else given["result"]


@pytest.mark.parametrize(("given", "expected"), of("condition_evaluation"))
def test_condition(given, expected):
    if "error" not in expected:
        assert Expression(given["condition"]).holds(given["result"]) is expected["value"]
        return
    with pytest.raises(InvalidInput) as refused:
        Expression(given["condition"]).holds(given["result"])
    if "unknown name" in expected["error"]:
        assert expected["error"] in refused.value.message


# The one that has no result never reaches the conditions: see the tests of the Prometheus client.
WITH_RESULT = [each for each in of("measurement_evaluation") if each.id != "measurement_evaluation-020"]


@pytest.mark.parametrize(("given", "expected"), WITH_RESULT)
def test_measurement(given, expected):
    result = result_of(given)
    phase, message = phase_of(metric(given), result, ARGO)
    assert phase is MetricPhase(expected["phase"].lower()), message
    for part in expected.get("errorContains", []):
        assert part in message
    if "valueString" in expected and result is not None:
        assert shown(result) == expected["valueString"]


@pytest.mark.parametrize(("given", "expected"), of("counters"))
def test_counters(given, expected):
    after = counted(progress(given["before"]), measured(given["measurement"]))
    wanted = expected["after"]
    assert (after.consecutive_error, after.error, after.count) == (
        wanted["consecutiveError"],
        wanted["error"],
        wanted["count"],
    )


@pytest.mark.parametrize(("given", "expected"), of("metric_status"))
def test_metric_status(given, expected):
    phase, _ = assess(
        metric(given["metric"]), progress(given["result"]), terminating=given["terminating"], semantics=ARGO
    )
    assert phase is MetricPhase(expected["phase"].lower())


@pytest.mark.parametrize(("given", "expected"), of("metric_limits"))
def test_metric_limits(given, expected):
    over = over_limit(metric(given["metric"]), progress(given["result"]))
    assert over == (MetricPhase(expected["phase"].lower()), expected["message"])


@pytest.mark.parametrize(("given", "expected"), of("is_terminating"))
def test_is_terminating(given, expected):
    metrics = [progress(each) for each in given["metricResults"]]
    dry = [each["name"] for each in given["metricResults"] if each.get("dryRun")]
    assert is_terminating(metrics, dry, terminate=given["terminate"]) is expected["terminating"]


@pytest.mark.parametrize(("given", "expected"), of("dry_run_matching"))
def test_dry_run_matching(given, expected):
    if "error" in expected:
        with pytest.raises(InvalidInput) as refused:
            matching(given["metrics"], given["rules"])
        assert refused.value.message == expected["error"]
    else:
        assert len(matching(given["metrics"], given["rules"])) == expected["matchedCount"]


@pytest.mark.parametrize(("given", "expected"), of("measurement_due"))
def test_measurement_due(given, expected):
    ago = given.get("runStartedSecondsAgo", 0)
    found = due(
        [metric(each) for each in given["metrics"]],
        {each["name"]: progress(each) for each in given["results"]},
        now=NOW,
        started=None if ago is None else NOW - ago,
    )
    assert len(found) == expected["tasks"]


@pytest.mark.parametrize(("given", "expected"), of("next_reconcile"))
def test_next_due(given, expected):
    at = next_due(
        [metric(each) for each in given["metrics"]],
        {each["name"]: progress(each) for each in given["results"]},
        started=NOW - given.get("runStartedSecondsAgo", 0),
    )
    assert (None if at is None else at - NOW) == expected["secondsFromNow"]


@pytest.mark.parametrize(("given", "expected"), of("phase_order"))
def test_phase_order(given, expected):
    current, new = MetricPhase(given["current"].lower()), MetricPhase(given["new"].lower())
    if "worst" in expected:
        assert worst([current, new]) is MetricPhase(expected["worst"].lower())
    else:
        assert worse(new, than=current) is expected["isWorse"]


@pytest.mark.parametrize(("given", "expected"), of("measurement_retention"))
def test_retention(given, expected):
    for name, values in given["measurements"].items():
        kept = MetricProgress(name=name)
        limit = max(given["defaultLimit"], given["retention"].get(name, 0))
        for value in values:
            one = Measurement(phase=MetricPhase.SUCCESSFUL, value=value, finished=NOW)
            kept = counted(kept, one, retention=limit)
        assert [each.value for each in kept.measurements] == expected["kept"][name]


@pytest.mark.parametrize(("given", "expected"), of("run_status"))
def test_run_status(given, expected):
    metrics = [metric({"name": name}, given["dryRun"]) for name in given["metrics"]]
    known = {each["name"]: progress(each) for each in given["metricResults"]}
    run = assess_run(metrics, known, terminate=given["terminate"], semantics=ARGO)
    assert run.phase is MetricPhase(expected["phase"].lower())
    said = run.message.replace(': "Provider Error"', "")
    assert said == expected["message"]
    for name, phase in expected.get("metricPhases", {}).items():
        assert {each.name: each.phase for each in run.metrics}[name] is MetricPhase(phase.lower())
    if "dryRunSummary" in expected and given["metricResults"]:
        assert run.dry_run == expected["dryRunSummary"]


@pytest.mark.parametrize(("given", "expected"), of("reconcile"))
def test_reconcile(given, expected):
    """One turn: measure what is due, assess, end what is in flight if the run is to end, assess again."""
    fields = [each if isinstance(each, dict) else {"name": each} for each in given["metrics"]]
    metrics = [metric(each) for each in fields]
    known = {each["name"]: progress(each) for each in given.get("metricResults", [])}
    taken = due(metrics, known, now=NOW, started=NOW) if "providerReturns" in given else ()
    for each in taken:
        known[each.name] = counted(MetricProgress(name=each.name), measured(given["providerReturns"]))
    run = assess_run(metrics, known, semantics=ARGO)
    if is_terminating(run.metrics, (), terminate=False):
        ends = MetricPhase(given["providerTerminateReturns"].lower())
        known = {each.name: terminated(each, ends, NOW) for each in run.metrics}
        run = assess_run(metrics, known, semantics=ARGO)
    by_name = {each.name: each for each in run.metrics}
    assert run.phase is MetricPhase(expected["phase"].lower())
    for name, phase in expected["metricPhases"].items():
        assert by_name[name].phase is MetricPhase(phase.lower())
    for name, message in expected.get("metricMessages", {}).items():
        assert by_name[name].message == message
    if "measurementsTaken" in expected:
        assert len(taken) == expected["measurementsTaken"]


def test_every_case_is_looked_at():
    here = {
        "condition_evaluation",
        "measurement_evaluation",
        "counters",
        "metric_status",
        "metric_limits",
        "is_terminating",
        "dry_run_matching",
        "measurement_due",
        "next_reconcile",
        "phase_order",
        "measurement_retention",
        "run_status",
        "reconcile",
    }
    assert {case["kind"] for case in CASES} == here | NOT_HERE


FIVE_ERRORS = {"consecutiveError": 4, "error": 5, "count": 5, "measurements": ["Error"]}


@pytest.mark.parametrize(
    ("fields", "given", "terminating", "argo", "ours"),
    [
        pytest.param(
            {}, {}, True, "successful", "inconclusive", id="terminated before anything was measured"
        ),
        pytest.param({"interval": "60s"}, FIVE_ERRORS, True, "successful", "inconclusive", id="only errors"),
        pytest.param(
            {"failureLimit": 1, "count": 1},
            {"failed": 1, "count": 1, "measurements": ["Failed"]},
            False,
            "successful",
            "inconclusive",
            id="the count is used up by failures within the limit",
        ),
        pytest.param(
            {"interval": "60s"},
            {"error": 61, "successful": 1, "count": 1, "measurements": ["Error"]},
            False,
            "running",
            "error",
            id="errors without end, never five in a row",
        ),
    ],
)
def test_where_we_differ_on_a_metric(fields, given, terminating, argo, ours):
    for semantics, expected in ((ARGO, argo), (OURS, ours)):
        phase, _ = assess(metric(fields), progress(given), terminating=terminating, semantics=semantics)
        assert phase == expected


@pytest.mark.parametrize(
    ("success", "failure", "result", "argo", "ours"),
    [
        (None, "result > 5", math.nan, "successful", "inconclusive"),
        ("result < 5", None, math.nan, "failed", "inconclusive"),
        ("isNaN(result) || result < 5", None, math.nan, "successful", "successful"),
        (None, "any(result, # > 5)", [], "successful", "inconclusive"),
        (None, "any(result, # > 5)", [1.0, math.nan], "successful", "inconclusive"),
        (None, "len(result) > 2", [], "successful", "successful"),
        (None, None, 1, "successful", "inconclusive"),
    ],
)
def test_where_we_differ_on_a_measurement(success, failure, result, argo, ours):
    one = metric({"successCondition": success, "failureCondition": failure})
    assert phase_of(one, result, ARGO)[0] == argo
    assert phase_of(one, result, OURS)[0] == ours


@pytest.mark.parametrize(
    ("condition", "result", "expected"),
    [
        ("!result == false", True, True),
        ("result.a?.b ?? 3 == 3", {"a": None}, True),
        ("result.items[-1].ok and count(result.items, .ok) >= 1", {"items": [{"ok": True}]}, True),
        ("mean(result) <= 2 && max(result) == 3", [1, 2, 3], True),
        ("one(filter(result, {# > 1}), # == 2)", [1, 2, 3], True),
        ("result startsWith 'o' and 'k' in ['k']", "ok", True),
        ("result / 0 > 1", 1, True),
        ("-2 ** 2 == -4", 0, True),
        ("1 + 2 * 3 == 7 ? result : false", True, True),
        ("result[1:2] == ['b'] or result not in ['x']", ["a", "b"], True),
    ],
)
def test_the_language(condition, result, expected):
    assert Expression(condition).holds(result) is expected


@pytest.mark.parametrize(
    "condition",
    [
        "result.Name()",
        "result matches 'a+'",
        "{a: 1}.a == 1",
        "1..3",
        "result >",
        "__import__('os')",
        "result | len",
        "(" * 70 + "result" + ")" * 70 + " == result" * 0 + " && " + "!" * 70 + "result",
        "len(result, 1) == 1",
        "all(result)",
        "missing > 1",
        "",
    ],
)
def test_what_cannot_be_honoured_is_refused_when_it_is_read(condition):
    with pytest.raises(ValidationError, match="success_condition"):
        ConditionMetric(name="errors", success_condition=condition)


@pytest.mark.parametrize(
    ("condition", "result"),
    [
        ("result > 'a'", 1),
        ("result == 'a'", 1),
        ("result[3] == 1", [1]),
        ("result.a == 1", 5),
        ("result + 1", 1),
        ("all(result, # > 0)", 3),
        ("result % 0 == 1", 3),
        ("asInt(result) == 1", "one"),
        ("# == 1", 1),
        ("result ** 9999 > 1", 9.0),
    ],
)
def test_what_cannot_be_evaluated_is_an_error_and_no_answer(condition, result):
    one = ConditionMetric(name="errors", failure_condition=condition)
    phase, message = phase_of(one, result)
    assert phase is MetricPhase.ERROR
    assert message.startswith("failureCondition: ")
