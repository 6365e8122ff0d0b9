"""Parts of the system killed in the middle of a rollout: it ends exactly as it would have without."""

import time
from datetime import UTC, datetime

import pytest

from cli.errors import Unreachable
from domain.deployment import Phase
from domain.events import EventKind
from domain.policy import GateRule
from tests.stack.faults import OTHER, assert_completed, present
from tests.stack.running import CANARY, DIRECT, until

pytestmark = [pytest.mark.stack, pytest.mark.faults, pytest.mark.timeout(240)]


@pytest.mark.parametrize("part", ["worker", "api"])
@pytest.mark.finding("N8")
@pytest.mark.finding("X6")
def test_killed_in_the_middle_of_a_wave(stack, part):
    before = present(stack)
    stack.install_greeter(before)
    stack.set_policy()
    deployment = stack.order(OTHER[before], DIRECT)
    stack.wait(deployment, lambda seen: any(node["touched_at"] for node in seen["nodes"]))
    killed, at = stack.kill(part), datetime.now(tz=UTC)
    end = assert_completed(stack, deployment, OTHER[before])
    assert any(datetime.fromisoformat(node["verified_at"]) > at for node in end["nodes"])
    assert stack.process(part) != killed


@pytest.mark.finding("8")
def test_api_and_worker_killed_while_a_gate_waits_take_its_decision_up_once(stack):
    before = present(stack)
    stack.install_greeter(before)
    stack.set_policy(GateRule(name="start", before_wave=1))
    deployment = stack.order(OTHER[before], DIRECT)
    gate = stack.gate(deployment)
    killed = {part: stack.kill(part) for part in ("api", "worker")}
    until(lambda: all(stack.process(part) not in (None, gone) for part, gone in killed.items()))
    until(lambda: stack.back(*killed) and is_pending(stack, gate))
    stack.approver.post(f"/approvals/{gate}/approve", {})
    assert_completed(stack, deployment, OTHER[before])
    decided = stack.approver.get(f"/approvals/{gate}")
    assert [vote["voter"] for vote in decided["votes"]] == ["test-approver"]
    query = {"action": EventKind.GATE_CLOSED, "subject": "deployment", "subject_id": deployment}
    assert len(list(stack.admin.items("/audit", **query))) == 1


def is_pending(stack, gate: str) -> bool:
    """Whether the gate still waits for votes; while the API cannot say, it does not."""
    try:
        return gate in [each["id"] for each in stack.approver.items("/approvals/pending")]
    except Unreachable:
        return False


@pytest.mark.finding("N8")
def test_an_agent_killed_adopts_its_module_and_takes_part(stack):
    before = present(stack)
    stack.install_greeter(before)
    stack.set_policy()
    with stack.traffic() as traffic:
        began = time.time()
        deployment = stack.order(OTHER[before], CANARY)
        seen = stack.wait_phase(deployment, Phase.ANALYZING, wave=1)
        (victim, *_) = (node["name"] for node in seen["nodes"] if node["wave"] == 3)
        pids = stack.module_pids()
        killed = stack.kill(victim)
        until(lambda: stack.process(victim) not in (None, killed) and stack.back(victim))
        adopted = stack.module_pids()
        waiting = {node["name"] for node in stack.look(deployment)["nodes"] if not node["touched_at"]}
        assert victim in waiting
        assert {name: adopted[name] for name in waiting} == {name: pids[name] for name in waiting}
        assert_completed(stack, deployment, OTHER[before])
        assert traffic.tally().failures_within(began, time.time()) == ()
