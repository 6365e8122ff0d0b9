"""Configs and samples in files: each documented form, and what is refused with its field."""

import pytest

from domain.errors import InvalidInput
from domain.offline import read_judge_config, read_looks

OURS = {
    "policy": {"judge": "threshold"},
    "metrics": [{"name": "errors", "kind": "ratio", "unit": "%", "margin": 0, "tolerance": 1}],
}
SERIES = {
    "step": 60,
    "start": 600,
    "metrics": {
        "errors": {
            "canary": {"web-1": {"values": [0, 1], "exposure": [100, 100]}},
            "baseline": {"web-2": {"values": [0, None], "exposure": [100, None]}},
        }
    },
}
KAYENTA = {"name": "c", "applications": ["a"], "metrics": [{"name": "cpu"}]}
LOOK = {"number": 1, "start": 0, "end": 60, "step": 60, "metrics": []}


def test_a_config_of_our_own():
    reading = read_judge_config(OURS)
    assert (reading.policy.judge, [spec.name for spec in reading.specs]) == ("threshold", ["errors"])
    assert read_judge_config(OURS, judge="sequential").policy.judge == "sequential"


def test_a_kayenta_config_with_its_request():
    request = {"scopes": [{"scopeName": "default"}], "thresholds": {"pass": 80, "marginal": 40}}
    reading = read_judge_config(KAYENTA, request, fail_open=True)
    assert (reading.policy.judge, reading.policy.mann_whitney.pass_score) == ("mann-whitney", 80)
    assert reading.policy.mann_whitney.fail_open.error_passes


def test_series_become_one_look():
    (look,) = read_looks(SERIES, read_judge_config(OURS).specs)
    (metric,) = look.metrics
    assert (look.start, look.end, look.canary_nodes) == (600, 720, 1)
    assert metric.canary.values == ((0, 1),)
    assert metric.baseline.samples == (1,)
    assert look.baseline_fault == ""


def test_a_baseline_from_another_time_is_not_fresh():
    (look,) = read_looks(SERIES | {"baseline_start": 0}, read_judge_config(OURS).specs)
    assert look.baseline_fault == "the baseline is not fresh: it was measured 600 s away"


def test_sides_before_they_were_paired():
    sides = {
        "control": [{"name": "cpu", "tags": {}, "values": [1, "NaN"]}],
        "experiment": [{"name": "cpu", "tags": {}, "values": [3, 4]}],
    }
    (look,) = read_looks(sides, read_judge_config(KAYENTA).specs)
    assert look.metrics[0].baseline.values == ((1, None),)


@pytest.mark.parametrize(
    ("document", "field"),
    [
        ([], "config"),
        ({"metrics": []}, "config.metrics"),
        ({"metrics": [{"name": "x"}]}, "config.metrics.0.kind"),
        (OURS | {"colour": 1}, "config.colour"),
        (KAYENTA | {"applications": []}, "applications"),
    ],
)
def test_a_config_that_is_refused(document, field):
    with pytest.raises(InvalidInput) as refused:
        read_judge_config(document)
    assert refused.value.field == field


@pytest.mark.parametrize(
    ("document", "field"),
    [
        ("text", "samples"),
        ({"looks": []}, "samples.looks"),
        ({"looks": [LOOK, LOOK | {"number": 2, "start": 30, "end": 90}]}, "samples.looks[1].start"),
        ({"looks": [LOOK, LOOK | {"start": 60, "end": 120}]}, "samples.looks[1].number"),
        ({"looks": [{"number": 0}]}, "samples.number"),
        ({"metrics": {"other": {}}}, "samples.metrics.other"),
        (
            {"metrics": {"errors": {"canary": {"web-1": {"values": "x"}}}}},
            "samples.metrics.errors.canary.web-1.values",
        ),
        ({"metrics": {}, "pace": 1}, "samples.pace"),
        ({"control": []}, "control"),
        ([], "samples"),
    ],
)
def test_samples_that_are_refused(document, field):
    with pytest.raises(InvalidInput) as refused:
        read_looks(document, read_judge_config(OURS).specs)
    assert refused.value.field == field
