"""The verdict model and the judges' input: what a stored verdict needs, what decides, what is refused."""

import math

import pytest
from pydantic import ValidationError

from domain.analysis import Doubt, MetricVerdict, Outcome, Verdict, group_scores, overall
from domain.metrics import JudgeLook, MetricKind, MetricLook, MetricSpec, Side


def metric(name="errors", outcome=Outcome.PASS, **facts):
    return MetricVerdict(metric=name, outcome=outcome, unit="%", reason=f"{name} {outcome}", **facts)


def test_a_verdict_that_was_stored_before_judges_had_evidence_still_loads():
    old = {
        "outcome": "pass",
        "doubt": None,
        "reason": "errors 0.00 % against 0.00 %",
        "metrics": [{"metric": "errors", "outcome": "pass", "doubt": None, "unit": "%", "reason": "fine"}],
        "canary_nodes": 1,
        "looks": 3,
    }
    verdict = Verdict.model_validate(old)
    assert (verdict.judge, verdict.metrics[0].evidence, verdict.metrics[0].certificate) == (
        "threshold",
        None,
        None,
    )


@pytest.mark.parametrize(
    ("metrics", "expected"),
    [
        ((), (Outcome.INCONCLUSIVE, Doubt.NO_DATA)),
        ((metric(), metric("cpu")), (Outcome.PASS, None)),
        ((metric(), metric("cpu", Outcome.FAIL)), (Outcome.FAIL, None)),
        ((metric(), metric("cpu", Outcome.FAIL, dry_run=True)), (Outcome.PASS, None)),
        ((metric(dry_run=True),), (Outcome.INCONCLUSIVE, Doubt.NO_DATA)),
        (
            (
                metric("cpu", Outcome.INCONCLUSIVE, doubt=Doubt.UNDERPOWERED),
                metric("errors", Outcome.INCONCLUSIVE, doubt=Doubt.ERROR),
            ),
            (Outcome.INCONCLUSIVE, Doubt.ERROR),
        ),
    ],
)
def test_the_worst_metric_that_has_a_say_decides(metrics, expected):
    assert overall(metrics)[:2] == expected


def test_a_score_counts_doubt_as_not_passed_and_shares_what_weights_leave():
    groups, score = group_scores(
        (
            metric("errors", groups=("users",)),
            metric("latency", Outcome.INCONCLUSIVE, groups=("users",), doubt=Doubt.UNDERPOWERED),
            metric("cpu", groups=("machine",)),
        ),
        {"users": 80.0},
    )
    assert [(each.name, each.score, each.weight) for each in groups] == [
        ("users", 50.0, 80.0),
        ("machine", 100.0, 20.0),
    ]
    assert score == 60.0


def test_what_is_not_a_finite_number_is_kept_as_absent():
    side = Side(nodes=("a",), values=((1.0, math.nan, math.inf, None),))
    stored = Side.model_validate_json(side.model_dump_json())
    assert stored.values == ((1.0, None, None, None),)


SPEC = MetricSpec(name="latency", kind=MetricKind.LATENCY)


@pytest.mark.parametrize(
    ("build", "says"),
    [
        (lambda: MetricSpec(name="cpu", kind="gauge", margin=0.3, tolerance=0.2), "tolerance must be larger"),
        (lambda: Side(nodes=("a", "b"), values=((1.0,),)), "1 rows for 2 nodes"),
        (lambda: Side(nodes=("a", "b"), values=((1.0,), (1.0, 2.0))), "different lengths"),
        (lambda: MetricLook(spec=SPEC, bounds=(0.2, 0.1)), "ascend"),
        (
            lambda: MetricLook(spec=SPEC, bounds=(0.1,), canary=Side(nodes=("a",), buckets=(((1.0,),),))),
            "2 buckets are needed",
        ),
        (
            lambda: MetricLook(
                spec=SPEC,
                canary=Side(nodes=("a",), values=((1.0,),)),
                baseline=Side(nodes=("b",), values=((1.0, 2.0),)),
            ),
            "different intervals",
        ),
        (lambda: JudgeLook(number=1, start=2.0, end=1.0, step=1.0), "ends before it starts"),
        (
            lambda: JudgeLook(
                number=1, start=0.0, end=1.0, step=1.0, metrics=(MetricLook(spec=SPEC), MetricLook(spec=SPEC))
            ),
            "same name",
        ),
    ],
)
def test_input_that_does_not_fit_is_refused_with_the_reason(build, says):
    with pytest.raises(ValidationError, match=says):
        build()
