"""What a rollout must come to, whatever was killed meanwhile."""

from collections import Counter
from typing import Any

from domain.deployment import Phase
from tests.stack.running import GOOD, OLD, PATIENCE, RunningStack, orders_to_activate, until

OTHER = {OLD: GOOD, GOOD: OLD}


def present(stack: RunningStack) -> str:
    """The version that all nodes run; the first one when they differ."""
    return next((each for each in OTHER if stack.runs("node-01", stack.releases[each])), OLD)


def assert_applied_once(stack: RunningStack, deployment: str, version: str) -> None:
    """Every operation has one outcome on its node, and the release was made current there once."""
    for name, address in stack.nodes().items():
        written = stack.outcomes_written(name, deployment)
        assert written, f"{name} has nothing of {deployment} in its journal"
        assert max(Counter(written).values()) == 1, f"{name}: {written}"
        entries = [each for each in stack.journal(address) if each.id.startswith(f"{deployment}:")]
        orders = orders_to_activate(entries, stack.releases[version])
        assert [each.changed for each in orders] == [True], f"{name}: {entries}"


def assert_completed(
    stack: RunningStack, deployment: str, version: str, seconds: float = PATIENCE
) -> dict[str, Any]:
    """As without a kill: completed, no node failed, every node proves the release, nothing done twice."""
    end = stack.ended(deployment, Phase.COMPLETED, seconds)
    assert end["exit_code"] == 0
    assert {node["state"] for node in end["nodes"]} == {"verified"}
    assert [node["fault"] for node in end["nodes"]] == [None] * len(end["nodes"])
    until(lambda: stack.back(*stack.nodes(), "api", "worker"))
    stack.assert_everywhere(stack.releases[version])
    assert_applied_once(stack, deployment, version)
    return end
