"""`hotswap judge` on files and on past looks, `hotswap analysis show`: the code that judges rollouts."""

import json
import random
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

from cli.main import app
from domain.imports.findings import CannotHonour
from domain.judging import Replay
from domain.policy import AnalysisRule
from reports.model import build
from tests.cli.small_server import Answer
from tests.reports.looks import analysis

CASES = json.loads((Path(__file__).parents[1] / "cases" / "kayenta.json").read_text())["cases"]
START = "from cli.main import main; main()"
CONFIG = {
    "name": "greeter",
    "applications": ["greeter"],
    "metrics": [
        {"name": "cpu", "groups": ["g"], "analysisConfigurations": {"canary": {"direction": "increase"}}}
    ],
    "classifier": {"groupWeights": {"g": 100}, "scoreThresholds": {"pass": 75, "marginal": 50}},
}


def pairs(control, experiment, name="cpu"):
    return [{"name": name, "tags": {}, "values": {"control": control, "experiment": experiment}}]


def files(tmp_path, config, samples):
    (tmp_path / "config.json").write_text(json.dumps(config))
    (tmp_path / "samples.json").write_text(json.dumps(samples))
    return ["judge", "--config", str(tmp_path / "config.json"), "--samples", str(tmp_path / "samples.json")]


def uniform(rng, low, high, count):
    return [rng.uniform(low, high) for _ in range(count)]


@pytest.mark.parametrize("case", [c for c in CASES if c["kind"] == "end_to_end"], ids=lambda case: case["id"])
def test_kayentas_own_two_ends(case, tmp_path):
    rng, given = random.Random(1), case["input"]
    (metric,) = given["metrics"]
    config = CONFIG | {"metrics": [{"name": metric["name"], "groups": ["g"]}]}
    config["classifier"]["scoreThresholds"] = given["thresholds"]
    points = given["pointsPerSeries"]
    control = uniform(rng, *metric["controlUniform"], points)
    experiment = uniform(rng, *metric["experimentUniform"], points)
    words = files(tmp_path, config, pairs(control, experiment, metric["name"]))
    ran = CliRunner().invoke(app, [*words, "--as-kayenta", "--json"], catch_exceptions=False)
    verdict = json.loads(ran.output)["verdict"]
    assert verdict["score"] == case["expect"]["finalScore"]
    assert [each["classification"] for each in verdict["metrics"]] == list(
        case["expect"]["classifications"].values()
    )
    assert ran.exit_code == (0 if case["expect"]["didPassThresholds"] else 2)


def test_samples_from_standard_input_for_people(tmp_path):
    rng = random.Random(2)
    same, other = uniform(rng, 10, 11, 60), uniform(rng, 20, 21, 60)
    words = files(tmp_path, CONFIG, [])
    words[-1] = "-"
    ran = CliRunner().invoke(app, words, input=json.dumps(pairs(same, other)), catch_exceptions=False)
    assert ran.exit_code == 2
    assert "✕ fail" in ran.output
    assert "note: classifier.scoreThresholds" in ran.output


@pytest.mark.parametrize(
    ("samples", "judge"),
    [
        (pairs([1.0] * 60, []), "mann-whitney"),
        (pairs([], [1.0] * 60), "mann-whitney"),
        (pairs([1.0] * 60, []), "sequential"),
        (pairs([None] * 60, [None] * 60), "sequential"),
        (pairs([1.0, 1.0], [5.0, 5.0]), "mann-whitney"),
    ],
)
def test_a_side_that_is_missing_never_passes(samples, judge, tmp_path):
    config = CONFIG | {
        "metrics": [{"name": "cpu", "analysisConfigurations": {"canary": {"mustHaveData": True}}}]
    }
    words = files(tmp_path, config, samples)
    ran = CliRunner().invoke(app, [*words, "--judge", judge, "--json"], catch_exceptions=False)
    assert ran.exit_code in {2, 3}
    assert json.loads(ran.output)["verdict"]["outcome"] != "pass"


def test_a_baseline_that_is_not_fresh_never_passes(tmp_path):
    config = {"metrics": [{"name": "cpu", "kind": "gauge"}]}
    values = {"n": {"values": [1.0 + place % 3 / 100 for place in range(60)]}}
    samples = {
        "start": 7200,
        "baseline_start": 0,
        "metrics": {
            "cpu": {
                "canary": values,
                "baseline": values,
                "history_canary": values,
                "history_baseline": values,
            }
        },
    }
    words = files(tmp_path, config, samples)
    ran = CliRunner().invoke(app, [*words, "--json"], catch_exceptions=False)
    verdict = json.loads(ran.output)["verdict"]
    assert (ran.exit_code, verdict["doubt"]) == (3, "baseline-bad")
    assert "not fresh" in verdict["reason"]


@pytest.mark.parametrize(
    ("config", "extra", "said"),
    [
        (CONFIG | {"applications": []}, [], "applications"),
        (CONFIG, ["--judge", "oracle"], "oracle"),
    ],
)
def test_a_file_that_cannot_be_honoured_says_which_field(config, extra, said, tmp_path):
    command = [sys.executable, "-c", START, *files(tmp_path, config, pairs([1], [1])), *extra]
    ran = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (ran.returncode, ran.stdout) == (1, "")
    assert said in ran.stderr


def replayed(server, tampered=None):
    looks = analysis(looks=2)
    before = None
    from domain.judges.registry import judge

    _, before = judge(looks[0].judged.policy, None, looks[0].judged.look)
    kept = Replay(judged=looks[1].judged, before=before, verdict=tampered or looks[1].verdict)
    body = json.loads(kept.model_dump_json())
    server.routes = {"GET /api/v1/analyses/analysis-d-1/inputs": lambda _: Answer(200, body)}
    words = ["--url", server.url, "--token", "t", "judge", "--replay", "analysis-d-1", "--json"]
    return CliRunner().invoke(app, words, catch_exceptions=False), looks


def test_a_past_look_is_judged_again_bit_for_bit(server):
    ran, looks = replayed(server)
    assert ran.exit_code == 0
    found = json.loads(ran.output)
    assert found["same"] is True
    assert found["recomputed"] == json.loads(looks[1].verdict.model_dump_json())


def test_a_verdict_that_was_changed_is_found_out(server):
    changed = analysis(looks=2)[1].verdict.model_copy(update={"reason": "all is well"})
    ran, _ = replayed(server, changed)
    assert ran.exit_code == 1
    assert json.loads(ran.output)["same"] is False


def test_an_analysis_in_the_terminal_and_as_a_page(server, tmp_path):
    report = build("analysis-d-1", "greeter@2.0.0, wave 1 in qa", analysis(looks=3))
    body = json.loads(report.model_dump_json())
    server.routes = {"GET /api/v1/analyses/analysis-d-1/summary": lambda _: Answer(200, body)}
    page = tmp_path / "report.html"
    words = ["--url", server.url, "--token", "t", "analysis", "show", "d", "--html", str(page)]
    ran = CliRunner().invoke(app, words, catch_exceptions=False)
    assert ran.exit_code == 0
    assert "greeter@2.0.0, wave 1 in qa" in ran.output
    assert "latency" in ran.output
    assert page.read_text().startswith("<!doctype html>")


def test_the_guard_of_a_deployment_is_shown_and_all_analyses_are_listed(server):
    report = build("guard-d-1", "greeter@2.0.0, after completion, in qa", analysis(looks=2))
    verdict = json.loads(report.verdict.model_dump_json())
    entry = {"id": "guard-d-1", "looks": 2, "at": "2026-01-01T00:00:00+00:00", "verdict": verdict}
    server.routes = {
        "GET /api/v1/analyses/guard-d-1/summary": lambda _: Answer(200, json.loads(report.model_dump_json())),
        "GET /api/v1/analyses": lambda _: Answer(200, {"items": [entry], "next_cursor": None}),
    }
    for words in (["show", "d-1", "--guard"], ["show", "guard-d-1"], ["list", "--deployment", "d-1"]):
        whole = ["--url", server.url, "--token", "t", "analysis", *words]
        ran = CliRunner().invoke(app, whole, catch_exceptions=False)
        assert ran.exit_code == 0
        assert "guard-d-1" in ran.output
        assert str(report.verdict.outcome) in ran.output


TEMPLATE = """
kind: AnalysisTemplate
spec:
  args: [{name: service}]
  metrics:
  - name: success-rate
    interval: 1m
    successCondition: result[0] > 0.9
    provider: {prometheus: {address: "http://127.0.0.1:9090", query: 'ok{service="{{args.service}}"}'}}
"""


def test_an_argo_template_becomes_checks_of_a_policy(tmp_path):
    (tmp_path / "template.yaml").write_text(TEMPLATE)
    words = ["analysis", "import", str(tmp_path / "template.yaml"), "--argument", "service=greeter"]
    ran = CliRunner().invoke(app, words, catch_exceptions=False)
    rule = AnalysisRule.model_validate(yaml.safe_load(ran.output))
    assert [check.metric.name for check in rule.conditions] == ["success-rate"]
    assert 'service="greeter"' in rule.conditions[0].provider.query


def test_what_a_template_asks_in_vain_is_named(tmp_path):
    (tmp_path / "template.yaml").write_text(TEMPLATE.replace("prometheus", "datadog"))
    with pytest.raises(CannotHonour) as refused:
        CliRunner().invoke(
            app, ["analysis", "import", str(tmp_path / "template.yaml")], catch_exceptions=False
        )
    fields = [each.field for each in refused.value.findings]
    assert fields == ["spec.args[0]", "spec.metrics[0]"]


def test_a_kayenta_config_with_its_request_becomes_an_analysis(tmp_path):
    (tmp_path / "config.json").write_text(json.dumps(CONFIG))
    request = {"scopes": [{"scopeName": "default"}], "lifetimeDurationMins": 30, "analysisIntervalMins": 5}
    (tmp_path / "request.json").write_text(json.dumps(request))
    words = ["analysis", "import", str(tmp_path / "config.json"), "--request", str(tmp_path / "request.json")]
    found = yaml.safe_load(CliRunner().invoke(app, words, catch_exceptions=False).stdout)
    rule = AnalysisRule.model_validate(found["analysis"])
    assert (rule.judge, rule.duration, rule.interval) == ("mann-whitney", 1800, 300)
    assert found["metrics"][0]["name"] == "cpu"
