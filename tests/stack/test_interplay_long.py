"""What comes into a rollout of real nodes from outside: hooks, votes by link, freezes, a hotfix in one."""

import json
from datetime import UTC, datetime, timedelta
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest

from clients.hooks import signature
from domain.deployment import CauseKind, Phase
from domain.hooks import HookRule
from domain.outcomes import NodeState
from domain.policy import GateRule
from domain.roles import Role
from domain.strategy import Rolling
from tests.stack.others import SECRET, Others, allow
from tests.stack.running import CANARY, DIRECT, GOOD, OLD, PRODUCTION, until

pytestmark = [pytest.mark.faults_long, pytest.mark.timeout(300)]

PAIRS = Rolling(batch=2, max_unavailable=2, bake=1)
CLUSTER = f"/clusters/{PRODUCTION}"


@pytest.fixture(scope="module")
def told(stack, tmp_path_factory):
    """What the programs were told, line by line; the worker may call them and this machine's servers."""
    file = tmp_path_factory.mktemp("told") / "lines"
    allow(stack, {"note": f"printf '%s\\n' \"$(cat)\" >> {file}", "linger": "sleep 3"})
    return file


def by_http(others: Others, at: str, **more: object) -> HookRule:
    call = {"kind": "http", "url": others.url, "secret": "others"}
    return HookRule.model_validate({"name": "others", "at": at, "call": call, **more})


def by_program(name: str, at: str) -> HookRule:
    return HookRule.model_validate({"name": name, "at": at, "call": {"kind": "command", "command": name}})


def test_hooks_are_told_in_order_and_a_polled_one_decides(stack, told):
    decisions = iter(["WAIT", "WAIT", "CONTINUE", "CONTINUE", "ABORT"])

    def answer(said):
        if said["point"] != "after-wave":
            return {}
        return {
            "status": next(decisions),
            "explanation": "says the monitor",
            "link": "https://m.example.com/1",
        }

    stack.install_greeter(OLD)
    with Others(answer) as others:
        ignored = {"on_failure": "ignore"}
        hooks = [
            by_http(others, "before-deployment"),
            by_http(others, "after-wave", polled=True, poll_every=1),
            by_http(others, "before-rollback", **ignored),
            by_http(others, "after-rollback", **ignored),
            by_http(others, "after-deployment", **ignored),
            by_program("note", "before-node"),
        ]
        stack.set_policy(hooks=hooks)
        deployment = stack.order(GOOD, CANARY)
        stack.wait(deployment, lambda seen: "others" in seen["waiting_for"])
        end = stack.ended(deployment, Phase.ROLLED_BACK_VERIFIED)
        until(lambda: others.calls[-1].said["point"] == "after-deployment")

    assert (end["cause"]["kind"], end["unverified"]) == (CauseKind.HOOK, [])
    assert "says the monitor" in end["cause"]["message"]
    stack.assert_everywhere(stack.releases[OLD])
    told_now = [(call.said["point"], call.said["wave"], call.said["outcome"]) for call in others.calls]
    waves = [("after-wave", 1, "done")] * 3 + [("after-wave", 2, "done"), ("after-wave", 3, "done")]
    way_back = [("before-rollback", None, None), ("after-rollback", None, Phase.ROLLED_BACK_VERIFIED)]
    ended = ("after-deployment", None, Phase.ROLLED_BACK_VERIFIED)
    assert told_now == [("before-deployment", None, None), *waves, *way_back, ended]
    for call in others.calls:
        identity, timestamp = call.headers["webhook-id"], int(call.headers["webhook-timestamp"])
        assert call.headers["webhook-signature"] == signature(SECRET, identity, timestamp, call.body)
    lines = [json.loads(line) for line in told.read_text().splitlines()]
    assert sorted(line["node"] for line in lines) == sorted(stack.nodes())
    assert {line["deployment"] for line in lines} == {deployment}


def test_a_link_votes_once_without_a_login_and_a_delegate_votes_as_himself(stack):
    stack.install_greeter(OLD)
    stack.set_policy(GateRule(name="first", before_wave=1), GateRule(name="second", before_wave=2))
    deployment = stack.order(GOOD, CANARY)
    gate = stack.gate(deployment, "first")
    order = {"to": "Zoe of the night shift", "decision": "approve"}
    url = stack.approver.post(f"/approvals/{gate}/links", order)["url"]
    token = parse_qs(urlsplit(url).query)["token"][0]
    page = url.split("?")[0]
    until(lambda: stack.approver.get(f"/approvals/{gate}")["delegations"])
    with httpx.Client(trust_env=False) as anybody:
        assert "Zoe of the night shift" in anybody.get(url).text  # to look at it decides nothing
        assert stack.approver.get(f"/approvals/{gate}")["votes"] == []
        assert anybody.post(page, data={"token": token}).status_code == 202
        until(lambda: stack.approver.get(f"/approvals/{gate}")["result"] == "approved")
        assert anybody.post(page, data={"token": token}).status_code == 409
    votes = stack.approver.get(f"/approvals/{gate}")["votes"]
    assert [(vote["voter"], vote["on_behalf_of"]) for vote in votes] == [(order["to"], "test-approver")]

    delegate = stack.person("test-delegate", Role.VIEWER)
    gate = stack.gate(deployment, "second")
    assert len({stack.runs(name, stack.releases[GOOD]) for name in stack.nodes()}) == 2  # one wave has moved
    stack.approver.post(f"/approvals/{gate}/delegations", {"to": "test-delegate"})
    until(lambda: stack.approver.get(f"/approvals/{gate}")["delegations"])
    delegate.post(f"/approvals/{gate}/delegated", {"on_behalf_of": "test-approver", "decision": "approve"})
    stack.ended(deployment, Phase.COMPLETED)
    votes = stack.approver.get(f"/approvals/{gate}")["votes"]
    assert [(vote["voter"], vote["on_behalf_of"]) for vote in votes] == [("test-delegate", "test-approver")]
    stack.assert_everywhere(stack.releases[GOOD])
    delegate.close()


def test_a_rollout_finishes_its_nodes_holds_in_the_freeze_and_goes_on_by_itself(stack, told):
    stack.install_greeter(OLD)
    stack.set_policy(hooks=[by_program("linger", "before-node")])
    deployment = stack.order(GOOD, PAIRS)

    def second_wave_is_under_way(seen: dict) -> bool:
        return {node["state"] for node in seen["nodes"] if node["wave"] == 2} == {NodeState.ACTIVATING}

    stack.wait(deployment, second_wave_is_under_way)
    until_then = datetime.now(UTC) + timedelta(seconds=12)
    stack.approver.post(f"{CLUSTER}/freeze", {"reason": "a storm", "until": until_then.isoformat()})
    frozen_at = datetime.now(UTC)
    held = stack.wait_phase(deployment, Phase.FROZEN)
    assert "a storm" in held["message"]
    states = {(node["wave"] <= 2, node["state"]) for node in held["nodes"]}
    assert states == {(True, NodeState.VERIFIED), (False, NodeState.PENDING)}
    end = stack.ended(deployment, Phase.COMPLETED)
    began = [datetime.fromisoformat(node["touched_at"]) for node in end["nodes"]]
    assert not [at for at in began if frozen_at < at < until_then]
    assert len([at for at in began if at < frozen_at]) == 4
    stack.assert_everywhere(stack.releases[GOOD])


def test_in_a_freeze_a_hotfix_runs_behind_its_own_gate_and_the_others_wait(stack):
    stack.install_greeter(OLD)
    stack.set_policy()
    stack.approver.post(f"{CLUSTER}/freeze", {"reason": "year-end"})
    waiting = stack.order(OLD, DIRECT)
    hotfix = stack.order(GOOD, DIRECT, hotfix="the login is broken")
    gate = stack.gate(hotfix)
    shown = stack.approver.get(f"/approvals/{gate}")
    assert shown["name"] == "hotfix"
    stack.assert_everywhere(stack.releases[OLD])
    stack.approver.post(f"/approvals/{gate}/approve", {"comment": "it is urgent"})
    stack.ended(hotfix, Phase.COMPLETED)
    stack.assert_everywhere(stack.releases[GOOD])
    seen = stack.look(waiting)
    assert (seen["phase"], seen["freeze"]["reason"]) == (Phase.QUEUED, "year-end")
    stack.approver.post(f"{CLUSTER}/thaw", {"reason": "a new year"})
    stack.ended(waiting, Phase.COMPLETED)
    stack.assert_everywhere(stack.releases[OLD])
