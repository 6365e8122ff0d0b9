"""Kayenta's files, read as they are, and the facts from its own tests: windows, pairing, thresholds."""

import json
from pathlib import Path
from typing import Any

import pytest

from domain.errors import InvalidInput
from domain.imports.findings import CannotHonour
from domain.imports.kayenta import classify, lookup, read_config
from domain.imports.kayenta_request import ExecutionRequest, read_request
from domain.imports.kayenta_samples import MetricSet, look, pair, pair_all, read_pairs

CASES = json.loads((Path(__file__).parents[2] / "cases" / "kayenta.json").read_text())["cases"]


def of(kind: str) -> list[Any]:
    return [
        pytest.param(case["input"], case["expect"], id=case["id"]) for case in CASES if case["kind"] == kind
    ]


def config(canary: dict[str, Any] | None = None, **head: Any) -> dict[str, Any]:
    metric = {
        "name": "cpu",
        "scopeName": "default",
        "groups": ["System"],
        "query": {"type": "prometheus", "metricName": "cpu", "serviceType": "prometheus"},
        "analysisConfigurations": {"canary": canary} if canary is not None else None,
    }
    return {
        "name": "greeter-canary",
        "configVersion": 1.0,
        "applications": ["greeter"],
        "judge": {"name": "NetflixACAJudge-v1.0", "judgeConfigurations": {}},
        "metrics": [metric],
        "classifier": {"groupWeights": {"System": 100}, "scoreThresholds": {"pass": 95, "marginal": 75}},
        "unknown": {"field": 1},
    } | head


def test_a_config_is_read_as_it_is():
    found = read_config(
        config(
            {
                "direction": "increase",
                "nanStrategy": "replace",
                "critical": True,
                "mustHaveData": True,
                "muted": None,
                "effectSize": {"measure": "cles", "allowedIncrease": 2, "criticalIncrease": 3.5},
                "outliers": {"strategy": "remove", "outlierFactor": 2},
            }
        )
    )
    (spec,) = found.specs
    options = found.policy.mann_whitney.metrics["cpu"]
    assert (spec.direction, spec.critical, spec.must_have_data, spec.dry_run) == (
        "increase",
        True,
        True,
        False,
    )
    assert (spec.margin, spec.groups) == (1.0, ("System",))
    assert (options.nan_strategy, options.outliers, options.outlier_factor) == ("replace", "remove", 2.0)
    assert options.effect_size.measure == "cles"
    assert (options.effect_size.allowed_increase, options.effect_size.critical_increase) == (2.0, 3.5)
    assert options.effect_size.allowed_decrease is None
    assert found.policy.judge == "mann-whitney"
    assert found.policy.weights == {"System": 100.0}
    assert (found.policy.mann_whitney.pass_score, found.policy.mann_whitney.marginal_score) == (95, 75)
    assert found.queries["cpu"]["metricName"] == "cpu"
    assert [note.field for note in found.notes] == ["classifier.scoreThresholds"]


def test_what_is_absent_is_kayentas_default():
    found = read_config(config(None, classifier=None))
    options = found.policy.mann_whitney.metrics["cpu"]
    assert found.specs[0].direction == "either"
    assert (options.nan_strategy, options.outliers, options.outlier_factor) == ("remove", "keep", 3.0)
    assert found.policy.weights == {}


@pytest.mark.parametrize(
    ("canary", "field"),
    [
        ({"direction": "up"}, "direction"),
        ({"nanStrategy": "zero"}, "nanStrategy"),
        ({"outliers": {"strategy": "drop"}}, "outliers.strategy"),
        ({"effectSize": {"measure": "d"}}, "effectSize.measure"),
    ],
)
def test_what_kayenta_swallows_is_noted(canary, field):
    notes = read_config(config(canary, classifier={})).notes
    assert [note.field for note in notes] == [f"metrics[0].analysisConfigurations.canary.{field}"]


def test_old_names_are_mapped_and_noted():
    found = read_config(
        config({}, judge={"name": "dredd-v1.0", "judgeConfigurations": {"a": 1}}, classifier={})
    )
    assert [note.field for note in found.notes] == ["judge.name", "judge.judgeConfigurations"]


@pytest.mark.parametrize(
    ("document", "field"),
    [
        (config({}, name="a b"), "name"),
        (config({}, name=None), "name"),
        (config({}, applications=[]), "applications"),
        (config({}, metrics=[]), "metrics"),
        (config({}, metrics="cpu"), "metrics"),
        (config({}, metrics=[{"name": "a"}, {"name": "a"}]), "metrics[1].name"),
        (config({}, metrics=[{"name": ""}]), "metrics[0].name"),
        (config({}, judge={"name": "MyJudge"}), "judge.name"),
        (
            config({"effectSize": {"criticalIncrease": "2"}}),
            "metrics[0].analysisConfigurations.canary.effectSize.criticalIncrease",
        ),
        (config({"critical": "yes"}), "metrics[0].analysisConfigurations.canary.critical"),
        (config({}, classifier={"groupWeights": {"System": "50"}}), "classifier.groupWeights.System"),
    ],
)
def test_what_is_refused_names_its_field(document, field):
    with pytest.raises(CannotHonour) as refused:
        read_config(document)
    assert field in [each.field for each in refused.value.findings]


@pytest.mark.parametrize(("given", "expected"), of("config_lookup"))
def test_lookup(given, expected):
    found = lookup(given["data"], *given["path"])
    assert (float(found) if "asDoubleDefault" in given else found) == expected["value"]


@pytest.mark.parametrize(("given", "expected"), of("score_classification"))
def test_classification(given, expected):
    found = classify(given["score"], marginal=given["marginal"], passing=given["pass"])
    assert found == expected["classification"]


@pytest.mark.parametrize(("given", "expected"), of("aggregated_judgement"))
def test_thresholds_of_the_last_score(given, expected):
    request = ExecutionRequest(pass_score=given["pass"], marginal_score=given["marginal"])
    assert request.passes(given["finalScore"]) is expected["didPassThresholds"]


def test_a_score_equal_to_marginal_does_not_pass():
    assert not ExecutionRequest(marginal_score=75).passes(75)


def scope(**fields: Any) -> dict[str, Any]:
    return {
        "scopeName": "default",
        "controlScope": "old",
        "controlLocation": "x",
        "experimentScope": "new",
    } | fields


@pytest.mark.parametrize(("given", "expected"), of("judgement_window"))
def test_windows(given, expected):
    times = {"startTimeIso": "2024-01-01T00:00:00Z", "endTimeIso": "2024-01-01T00:15:00Z"}
    given_times = {
        "startTimeIso": times["startTimeIso"] if given["explicitStart"] else None,
        "endTimeIso": times["endTimeIso"] if given["explicitEnd"] else None,
    }
    request = read_request(
        {
            "scopes": [scope(controlOffsetInMinutes=given.get("controlOffsetInMinutes"), **given_times)],
            "lifetimeDurationMins": "15",
            "beginAfterMins": given["beginAfterMins"],
            "lookbackMins": given["lookbackMins"],
            "analysisIntervalMins": given["intervalMins"],
            "siteLocal": {},
        }
    )
    number = given["judgementNumber"]
    found, control = request.window(number), request.control_window(number)
    wanted = {
        "startMinutesFromT0": found.start,
        "endMinutesFromT0": found.end,
        "experimentStartMinutesFromT0": found.start,
        "controlStartMinutesFromT0": control.start,
    }
    assert {name: wanted[name] for name in expected} == expected


@pytest.mark.parametrize(("given", "expected"), of("analysis_lifetime"))
def test_lifetime(given, expected):
    request = read_request({"scopes": [scope()], "lifetimeDurationMins": given["lifetimeDurationMins"]})
    if "error" in expected:
        with pytest.raises(CannotHonour) as refused:
            request.lifetime_minutes()
        assert refused.value.field == "lifetimeDurationMins"
    else:
        assert request.lifetime_minutes() == expected["lifetimeMins"]


def test_a_plain_request_is_one_judgement():
    request = read_request(
        {
            "scopes": {
                "default": {
                    "controlScope": {"scope": "old", "start": "2024-01-01T00:00:00Z"},
                    "experimentScope": {
                        "scope": "new",
                        "start": "2024-01-01T00:00:00Z",
                        "end": "2024-01-01T01:00:00Z",
                        "step": 30,
                    },
                }
            },
            "thresholds": {"pass": 90, "marginal": 60},
        }
    )
    assert (request.lifetime_minutes(), request.step) == (60, 30)
    assert request.window(1).end == 60
    policy = request.policy(read_config(config({})))
    assert (policy.mann_whitney.pass_score, policy.mann_whitney.marginal_score) == (90, 60)


def test_a_standalone_request_as_a_rule():
    request = read_request(
        {
            "scopes": [scope()],
            "lifetimeDurationMins": 60,
            "analysisIntervalMins": 5,
            "beginAfterMins": 2,
            "thresholds": {"pass": 90, "marginal": 60},
        }
    )
    rule = request.rule()
    assert (rule.duration, rule.interval, rule.warm_up) == (3600, 300, 120)


@pytest.mark.parametrize(
    ("document", "field"),
    [
        ({}, "scopes"),
        ({"scopes": []}, "scopes"),
        ({"scopes": [scope(startTimeIso="yesterday")]}, "scopes[0].startTimeIso"),
        ({"scopes": [scope()], "lifetimeDurationMins": "long"}, "lifetimeDurationMins"),
        ({"scopes": [scope()], "beginAfterMins": -1}, "beginAfterMins"),
        ({"scopes": [scope(step=0)]}, "scopes[0].step"),
    ],
)
def test_a_request_that_is_refused(document, field):
    with pytest.raises(CannotHonour) as refused:
        read_request(document)
    assert refused.value.field == field


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"lookback": 5}, "lookbackMins"),
        ({"control_offset": 60}, "scopes[0].controlOffsetInMinutes"),
    ],
)
def test_a_rule_that_would_not_be_honest_is_refused(fields, field):
    request = ExecutionRequest(lifetime=60, interval=5, **fields)
    with pytest.raises(CannotHonour) as refused:
        request.rule()
    assert refused.value.field == field


def metric_set(raw: dict[str, Any]) -> MetricSet:
    return MetricSet(
        name=raw.get("name"),
        tags=raw.get("tags", {}),
        values=tuple(raw.get("values", ())),
        start=raw.get("startMillis", 0),
        end=raw.get("endMillis"),
        step=raw.get("stepMillis", 60_000),
    )


@pytest.mark.parametrize(("given", "expected"), of("metric_pairing"))
def test_pairing(given, expected):
    sides = [given["control"], given["experiment"]]

    def run() -> Any:
        if given["op"] == "mixOne":
            return (pair(*map(metric_set, sides)),)
        return pair_all(given["metrics"], *([metric_set(each) for each in side] for side in sides))

    if "error" in expected:
        with pytest.raises(InvalidInput) as refused:
            run()
        if not expected["error"].startswith("Illegal"):
            assert expected["error"] in refused.value.message
        return
    found = run()
    if "values" in expected:
        assert list(found[0].control) == expected["values"]["control"]
        assert list(found[0].experiment) == expected["values"]["experiment"]
        return
    shown = [
        {
            "name": each.name,
            "tags": each.tags,
            "control": list(each.control),
            "experiment": list(each.experiment),
        }
        for each in found
    ]
    assert shown == expected["pairs"]


def test_archived_pairs_become_a_look():
    archive = [
        {
            "name": "cpu",
            "tags": {"zone": "b", "az": "a"},
            "values": {"control": [1, 2, 3], "experiment": [4, "NaN", None, 5]},
            "attributes": {},
            "startTimeMillis": 120_000,
            "startTimeIso": "1970-01-01T00:02:00Z",
            "stepMillis": 60_000,
        }
    ]
    (spec,) = read_config(config({})).specs
    found = look([spec], read_pairs(archive))
    (metric,) = found.metrics
    assert (found.start, found.end, found.step) == (120, 360, 60)
    assert metric.canary.values == ((4, None, None, 5),)
    assert metric.baseline.values == ((1, 2, 3, None),)
    assert metric.canary.nodes == ("az=a,zone=b",)
    assert (metric.canary.samples, metric.baseline.samples) == ((2,), (3,))


@pytest.mark.parametrize(
    ("document", "field"),
    [
        ({}, "samples"),
        ([], "samples"),
        ([3], "samples[0]"),
        ([{"name": "cpu"}], "samples[0]"),
        ([{"name": "cpu", "values": {"control": "1"}}], "samples[0].values.control"),
        ([{"name": "cpu", "values": {"control": ["x"]}}], "samples[0].values.control[0]"),
    ],
)
def test_an_archive_that_is_none(document, field):
    with pytest.raises(CannotHonour) as refused:
        read_pairs(document)
    assert refused.value.findings[0].field == field
