"""People at the console: votes as raw signals through Temporal's own command line, and an ended workflow."""

import json
import shlex
import subprocess

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from cli.approvals import signal_command
from cli.errors import Refused
from domain.deployment import CauseKind, Phase
from domain.gate import Decision, Refusal
from domain.policy import GateRule
from domain.roles import Role
from runtime.tokens import TokenMinter
from tests.stack.running import CANARY, DIRECT, GOOD, OLD, until

pytestmark = [pytest.mark.stack, pytest.mark.timeout(240)]


def forged(gate: dict) -> str:
    """A token that says all the right things under a key of our own."""
    minted = TokenMinter(Ed25519PrivateKey.generate()).vote(
        tenant="default",
        voter="test-approver",
        role=Role.APPROVER,
        gate=gate["name"],
        plan=gate["plan"],
        decision=Decision.APPROVE,
    )
    return minted.token


@pytest.mark.finding("X7")
def test_only_a_token_of_the_api_opens_a_gate(stack):
    stack.install_greeter(OLD)
    stack.set_policy(GateRule(name="start", before_wave=1))
    deployment = stack.order(GOOD, DIRECT, by=stack.admin)
    gate = stack.gate(deployment)

    def signal(**ballot: str) -> None:
        stack.temporal(
            *("workflow", "signal", "--workflow-id", gate, "--name", "approve"),
            *("--input", json.dumps({"approver": "test-approver", "decision": "approve", **ballot})),
        )

    def refused() -> list[str]:
        return [each["reason"] for each in stack.approver.get(f"/approvals/{gate}")["refused"]]

    signal()
    until(lambda: refused() == [Refusal.TOKEN_REQUIRED])
    signal(token=forged(stack.approver.get(f"/approvals/{gate}")))
    until(lambda: refused() == [Refusal.TOKEN_REQUIRED, Refusal.FORGED_TOKEN])
    for vote in ("approve", "token"):
        with pytest.raises(Refused) as own:
            stack.admin.post(f"/approvals/{gate}/{vote}", {"decision": "approve"} if vote == "token" else {})
        assert own.value.status == 403
    with pytest.raises(Refused) as weak:
        stack.deployer.post(f"/approvals/{gate}/approve", {})
    assert weak.value.status == 403
    shown = stack.approver.get(f"/approvals/{gate}")
    assert (shown["votes"], shown["result"], shown["closed_at"]) == ([], None, None)
    assert stack.look(deployment)["phase"] == Phase.WAITING_APPROVAL
    stack.assert_everywhere(stack.releases[OLD])

    ticket = stack.approver.post(f"/approvals/{gate}/token", {"decision": "approve", "comment": "by hand"})
    done = subprocess.run(
        shlex.split(signal_command(ticket)), capture_output=True, text=True, timeout=30, check=False
    )
    assert done.returncode == 0, done.stderr
    stack.ended(deployment, Phase.COMPLETED)
    shown = stack.approver.get(f"/approvals/{gate}")
    assert [(vote["voter"], vote["trust"]) for vote in shown["votes"]] == [("test-approver", "signed")]
    assert shown["result"] == "approved"
    stack.assert_everywhere(stack.releases[GOOD])


def test_the_lane_takes_back_what_a_terminated_rollout_left(stack):
    stack.install_greeter(GOOD)
    stack.set_policy(seconds=60)
    deployment = stack.order(OLD, CANARY)
    seen = stack.wait_phase(deployment, Phase.ANALYZING, wave=1)
    (first,) = (node["name"] for node in seen["nodes"] if node["wave"] == 1)
    assert stack.runs(first, stack.releases[OLD])
    stack.terminate(deployment)
    end = stack.ended(deployment, Phase.ROLLED_BACK_VERIFIED)
    assert end["cause"]["kind"] == CauseKind.TERMINATED
    assert end["exit_code"] == 2
    stack.assert_everywhere(stack.releases[GOOD])
    status = json.loads(
        stack.temporal("workflow", "describe", "--workflow-id", f"deployment-{deployment}", "-o", "json")
    )
    assert status["workflowExecutionInfo"]["status"] == "WORKFLOW_EXECUTION_STATUS_TERMINATED"
