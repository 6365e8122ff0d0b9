"""`hotswap policy`: what is shown can be set, what changes is said, what is wrong is named and not sent."""

import pytest
import yaml

from cli.errors import CommandFailed
from domain.policy import EnvironmentPolicy, default_policy
from tests.cli.test_commands import ok, run, sent

PATH = "/clusters/production"


@pytest.fixture
def production(server):
    policy = default_policy("production").model_dump(mode="json")
    server.routes = {f"GET /api/v1{PATH}": ok({"policy": policy}), f"PUT /api/v1{PATH}/policy": ok({})}
    return server


def test_what_is_shown_is_a_file_that_changes_nothing(production, tmp_path):
    file = tmp_path / "production.yaml"
    for more in ([], ["--all"], ["--json"]):
        file.write_text(run(production, "policy", "show", "production", *more).output)
        assert EnvironmentPolicy.model_validate(yaml.safe_load(file.read_text())) == default_policy(
            "production"
        )
        assert "already" in run(production, "policy", "set", "production", str(file)).output
    assert {request.method for request in production.requests} == {"GET"}


def test_what_changes_is_said_and_sent_in_full(production, tmp_path):
    file = tmp_path / "production.yaml"
    file.write_text("strategy: {kind: canary, shares: [5, 100]}\nmin_healthy: 50%\n")
    words = ["policy", "set", "production", str(file)]
    previewed = run(production, *words, "--preview").output.splitlines()
    assert previewed[-1] == "nothing was set"
    assert {request.method for request in production.requests} == {"GET"}
    shown = run(production, *words).output.splitlines()
    assert shown[:-1] == previewed[:-1]
    assert "~ strategy.shares: [10, 30, 50, 100] → [5, 100]" in shown
    assert any(line.startswith("~ gates: [{") and line.endswith("→ []") for line in shown)
    wanted = EnvironmentPolicy.model_validate(yaml.safe_load(file.read_text()))
    assert sent(production, "PUT", f"{PATH}/policy") == wanted.model_dump(mode="json")


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("analysis: {duration: -1}\nguards: {}\n", "analysis.duration: .*; guards: "),
        ("analysis: {duration: 60, interval: 90}\n", "analysis: interval must not be longer than duration"),
        ("gates: [\n", "line 2"),
        ("", "valid dictionary"),
    ],
)
def test_what_is_wrong_is_named_on_one_line_and_not_sent(production, tmp_path, text, told):
    file = tmp_path / "production.yaml"
    file.write_text(text)
    with pytest.raises(CommandFailed, match=told) as refused:
        run(production, "policy", "set", "production", str(file))
    assert "\n" not in refused.value.message
    assert "pydantic" not in refused.value.message
    assert production.requests == []


def test_a_file_that_is_not_there(production, tmp_path):
    with pytest.raises(CommandFailed, match="No such file"):
        run(production, "policy", "set", "production", str(tmp_path / "none.yaml"))
