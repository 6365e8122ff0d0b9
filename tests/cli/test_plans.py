"""`hotswap plan`: the table, what is kept, and what differs."""

import json

import pytest

from domain.forecast import estimate, forecast
from domain.policy import AnalysisRule, EnvironmentPolicy, default_policy
from domain.strategy import Canary, Rolling
from tests.cli.test_commands import ok, run, sent
from tests.domain.test_forecast import HISTORY, zones_of
from tests.domain.test_planner import plan_for

PLAN = ("plan", "greeter@2.0.0", "--env", "production")


def shown(count, history=HISTORY, **more):
    plan = plan_for(count, **more)
    waves = forecast(plan, zones_of(count), history, {})
    return {
        "digest": plan.digest,
        "plan": plan.model_dump(mode="json"),
        "waves": [wave.model_dump(mode="json") for wave in waves],
        "expected": estimate(plan.steps, history).model_dump(mode="json"),
        "unheard": ["node-003"],
    }


@pytest.fixture
def server(server):
    server.routes = {"POST /api/v1/deployments/plan": ok(shown(10, policy=default_policy("production")))}
    return server


def test_a_hotfix_is_planned_with_its_own_gate(server):
    run(server, *PLAN, "--hotfix", "logins fail")
    body = sent(server, "POST", "/deployments/plan")
    assert (body["hotfix"], body["reason"]) == (True, "logins fail")


def test_the_table_tells_waves_zones_gates_times_and_what_is_at_stake(server):
    text = run(server, *PLAN, "--strategy", "blue-green").output
    assert sent(server, "POST", "/deployments/plan")["strategy"] == "blue-green"
    for words in (
        "1.0.0 → 2.0.0   canary",
        "4 waves",
        "+ 1 decision",
        "z0: 1 (3, margin 3)",
        "promotion",
        "stage → activate → verify → analyze",
        "10 (100%), all of z0, z1, z2",
        "not heard of yet: node-003",
    ):
        assert words in " ".join(text.split()) or words in text, text


def test_times_without_history_are_unknown(server):
    server.routes = {"POST /api/v1/deployments/plan": ok(shown(4, history={}, strategy=Rolling(bake=30)))}
    assert "expected unknown, at least 1m 00s" in run(server, *PLAN).output


def test_a_plan_that_was_kept_is_compared_with(server, tmp_path):
    kept = tmp_path / "plan.json"
    kept.write_text(run(server, *PLAN, "--json").output)
    assert run(server, *PLAN, "--diff", str(kept)).output.strip() == "the same plan"
    server.routes = {"POST /api/v1/deployments/plan": ok(shown(11, policy=default_policy("production")))}
    text = run(server, *PLAN, "--diff", str(kept)).output
    assert "node node-010: not in it → wave" in text
    told = json.loads(run(server, *PLAN, "--diff", str(kept), "--json").output)
    assert {key: value for key, value in told["nodes"][-1].items() if key != "after"} == {
        "node": "node-010",
        "before": None,
    }


def test_a_deployments_plan_is_compared_with(server):
    other = plan_for(10, policy=default_policy("production")).model_copy(update={"unsigned_votes": True})
    server.routes["GET /api/v1/deployments/d-1"] = ok({"plan": other.model_dump(mode="json")})
    assert "unsigned_votes: True → False" in run(server, *PLAN, "--diff", "d-1").output


@pytest.mark.parametrize("answer", [{"plan": None}, {"plan": {"waves": []}}])
def test_what_has_no_plan_is_named(server, answer):
    server.routes["GET /api/v1/deployments/d-1"] = ok(answer)
    from cli.errors import CommandFailed

    with pytest.raises(CommandFailed, match="'d-1' has no plan") as refused:
        run(server, *PLAN, "--diff", "d-1")
    assert refused.value.field == "diff"


def test_what_is_restarted_without_being_changed_is_told(server):
    policy = EnvironmentPolicy(analysis=AnalysisRule(against="fresh"))
    answer = shown(10, strategy=Canary(shares=(70, 100)), policy=policy)
    server.routes = {"POST /api/v1/deployments/plan": ok(answer)}
    text = " ".join(run(server, *PLAN).output.split())
    assert "wave 1 is judged against 3 unchanged nodes on 1.0.0 (7 nodes are changed, and of the 3" in text
    assert "restarted for that: z" in text
