"""Argo AnalysisTemplates, read as they are; what cannot be honoured is named with its field."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from domain.conditions.metric import ARGO
from domain.imports.argo import read_template
from domain.imports.findings import CannotHonour

CASES = json.loads((Path(__file__).parents[2] / "cases" / "argo.json").read_text())["cases"]
VALIDATION = [
    pytest.param(case["input"]["metrics"], case["expect"]["error"], id=case["id"])
    for case in CASES
    if case["kind"] == "validation"
]

TEMPLATE = """
apiVersion: argoproj.io/v1alpha1
kind: AnalysisTemplate
metadata: {name: success-rate}
spec:
  args:
  - name: service-name
  - name: limit
    value: "0.95"
  dryRun: [{metricName: "late.*"}]
  metrics:
  - name: success-rate
    interval: 1m30s
    initialDelay: 20s
    count: "10"
    successCondition: result[0] >= {{args.limit}}
    failureLimit: 3
    provider:
      prometheus:
        address: http://127.0.0.1:9090
        query: |
          sum(rate(requests{service="{{args.service-name}}",code!~"5.."}[5m]))
  - name: latency
    failureCondition: result.p99 > 0.5
    provider:
      web:
        url: http://127.0.0.1:8000/stats
        headers: [{key: Accept, value: application/json}]
        timeoutSeconds: 20
        jsonPath: "{$.data}"
"""


def template(**metric: Any) -> dict[str, Any]:
    body = {
        "name": "errors",
        "successCondition": "result < 1",
        "provider": {"prometheus": {"address": "http://127.0.0.1:9090", "query": "up"}},
    }
    metric = {name: value for name, value in (body | metric).items() if value is not None}
    return {"kind": "AnalysisTemplate", "spec": {"metrics": [metric]}}


def test_a_template_is_read_as_it_is():
    rate, latency = read_template(yaml.safe_load(TEMPLATE), {"service-name": "{{module}}"})
    assert (rate.metric.interval, rate.metric.initial_delay, rate.metric.count) == (90, 20, 10)
    assert rate.metric.success_condition == "result[0] >= 0.95"
    assert rate.metric.failure_limit == 3
    assert rate.provider.kind == "prometheus"
    assert 'service="{{module}}"' in rate.provider.query
    assert (rate.metric.dry_run, latency.metric.dry_run) == (False, True)
    assert latency.provider.kind == "web"
    assert latency.provider.json_path == "$.data"
    assert latency.provider.headers == {"Accept": "application/json"}
    assert latency.provider.timeout == 20


def test_every_finding_is_named_at_once():
    with pytest.raises(CannotHonour) as refused:
        read_template(yaml.safe_load(TEMPLATE))
    assert [each.field for each in refused.value.findings] == ["spec.args[0]", "spec.metrics[0]"]


@pytest.mark.parametrize(
    ("metric", "field", "reason"),
    [
        (
            {"provider": {"web": {"url": "http://a", "jsonPath": "{$.a[}"}}},
            "spec.metrics[0].provider.web.jsonPath",
            "no JSONPath",
        ),
        ({"provider": {"datadog": {"query": "x"}}}, "spec.metrics[0].provider.datadog", "not here"),
        ({"provider": {"job": {"spec": {}}}}, "spec.metrics[0].provider.job", "Kubernetes Job"),
        ({"successCondition": "result matches 'x'"}, "spec.metrics[0].successCondition", "not understood"),
        ({"successCondition": "foo > 1"}, "spec.metrics[0].successCondition", "foo: unknown"),
        ({"successCondition": None}, "spec.metrics[0]", "a number alone says nothing"),
        ({"interval": "soon"}, "spec.metrics[0].interval", "no duration"),
        ({"count": 3}, "spec.metrics[0].interval", "needed when count > 1"),
        ({"count": "many"}, "spec.metrics[0].count", "not a whole number"),
        ({"colour": "red"}, "spec.metrics[0].colour", "unknown"),
        (
            {
                "provider": {
                    "prometheus": {"address": "http://a", "query": "up", "rangeQuery": {"step": "1m"}}
                }
            },
            "spec.metrics[0].provider.prometheus.rangeQuery",
            "only instant queries",
        ),
        (
            {"provider": {"prometheus": {"address": "ftp://a", "query": "up"}}},
            "spec.metrics[0].provider.prometheus.address",
            "match pattern",
        ),
        (
            {"provider": {"web": {"url": "http://a", "insecure": True}}},
            "spec.metrics[0].provider.web.insecure",
            "always verified",
        ),
        (
            {"provider": {"prometheus": {"address": "http://a", "query": "up{x='{{namespace}}'}"}}},
            "spec.metrics[0].provider.prometheus.query",
            "unknown placeholder",
        ),
    ],
)
def test_what_cannot_be_honoured(metric, field, reason):
    with pytest.raises(CannotHonour) as refused:
        read_template(template(**metric))
    assert [each.field for each in refused.value.findings] == [field]
    assert reason in refused.value.findings[0].reason


@pytest.mark.parametrize(
    ("document", "field"),
    [
        ({"kind": "AnalysisTemplate", "spec": {"metrics": "x"}}, "spec.metrics"),
        ({"kind": "AnalysisTemplate", "spec": {"metrics": ["x"]}}, "spec.metrics[0]"),
        (template(provider="prometheus"), "spec.metrics[0].provider"),
        (template(provider={"web": "x"}), "spec.metrics[0].provider.web[0]"),
        ({"kind": "Rollout"}, "kind"),
        ({"kind": "AnalysisTemplate"}, "spec"),
        ({"kind": "AnalysisTemplate", "spec": {"metrics": []}}, "spec.metrics"),
        (
            template() | {"spec": template()["spec"] | {"templates": [{"templateName": "x"}]}},
            "spec.templates",
        ),
        (template() | {"spec": template()["spec"] | {"dryRun": [{"metricName": "x"}]}}, "spec.dryRun[0]"),
        (
            template()
            | {"spec": template()["spec"] | {"args": [{"name": "x", "valueFrom": {"fieldRef": {}}}]}},
            "spec.args[0].valueFrom",
        ),
    ],
)
def test_a_file_that_is_none(document, field):
    with pytest.raises(CannotHonour) as refused:
        read_template(document)
    assert refused.value.field == field


@pytest.mark.parametrize(("metrics", "error"), VALIDATION)
def test_argos_own_validation(metrics, error):
    web = {"web": {"url": "http://127.0.0.1/"}}
    others = {f"other{number}": {} for number in range(10)}
    document: dict[str, Any] = {"kind": "AnalysisTemplate", "spec": {"metrics": []}}
    for metric in metrics:
        count = metric.pop("providers")
        providers = dict(list((web | others).items())[:count])
        document["spec"]["metrics"].append(metric | {"provider": providers})
    if error is None:
        assert read_template(document, semantics=ARGO)
        return
    with pytest.raises(CannotHonour) as refused:
        read_template(document, semantics=ARGO)
    place, reason = error.split(": ", 1)
    named = {each.field.split("spec.")[1].split(".")[0] for each in refused.value.findings}
    assert named == {place}
    if "startDelay" not in reason:  # Argo's name for it; we name the field
        assert reason in [each.reason for each in refused.value.findings]
