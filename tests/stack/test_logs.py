"""What the parts of a running stack write: JSON with ids, and never a secret."""

import json
import re

import pytest

from domain.deployment import Phase
from domain.policy import GateRule
from tests.stack.running import DIRECT, GOOD, OLD

pytestmark = [pytest.mark.stack, pytest.mark.timeout(240)]

# A JSON Web Token, an API key, a refresh token: whatever lets somebody in.
CREDENTIAL = re.compile(
    r"eyJ[\w-]{10,}\.[\w-]{10,}\.[\w-]{10,}|\bhs[kr]\.[\w-]+\.\w+\.[\w-]{20,}|Bearer \S{20,}"
)


def secrets_of(stack) -> set[str]:
    """Every secret that the stack has in a file: passwords, tokens, the lines of private keys."""
    root = stack.directory.root
    found = set()
    for path in (*root.rglob("*password*"), *root.rglob("token"), *root.rglob("*.token")):
        if path.is_file():
            found.add(path.read_text().strip())
    for path in root.rglob("*.key"):
        found.update(line for line in path.read_text().splitlines() if not line.startswith("-----"))
    return {each for each in found if len(each) >= 16}


@pytest.mark.finding("N16")
def test_a_rollout_leaves_no_secret_in_any_log_and_one_id_finds_it_everywhere(stack):
    stack.install_greeter(OLD)
    stack.set_policy(GateRule(name="start", before_wave=1))
    deployment = stack.order(GOOD, DIRECT)
    gate = stack.gate(deployment)
    ticket = stack.approver.post(f"/approvals/{gate}/token", {"decision": "approve"})
    stack.approver.post(f"/approvals/{gate}/approve", {})
    stack.ended(deployment, Phase.COMPLETED)
    key = stack.deployer.post("/auth/keys", {"name": "logged", "scopes": ["read"], "days": 1})

    logs = {path.name: path.read_text(errors="replace") for path in stack.directory.logs.glob("*.log")}
    assert {"api.log", "worker.log", "node-01.log"} <= set(logs)
    known = secrets_of(stack) | {ticket["token"], key["key"]}
    assert len(known) > 20
    for name, text in logs.items():
        assert [each[:8] for each in known if each in text] == [], name
        assert CREDENTIAL.findall(text) == [], name

    lines = [json.loads(line) for line in logs["api.log"].splitlines() if line.startswith("{")]
    asked = [line for line in lines if line["message"] == "POST /deployments: 202"]
    assert {line["tenant"] for line in asked} == {"default"}
    trace = asked[-1]["trace_id"]
    on_nodes = [name for name, text in logs.items() if name.startswith("node-") and trace in text]
    assert len(on_nodes) == len(stack.nodes())
