"""When a node counts as healthy, and an environment."""

from typing import Final

from domain.wire import ModuleReport, ModuleState, NodeReport

HEARTBEAT_SECONDS: Final = 10.0  # agents report at least this often
MISSED_HEARTBEATS: Final = 3


def ailments(report: NodeReport | None, age: float | None) -> tuple[str, ...]:
    """What is wrong with a node, in words; empty when it is healthy.

    Args:
        report: its last report; None when it never sent one.
        age: seconds since then.
    """
    if report is None or age is None:
        return ("it has never reported",)
    found = [words for module in report.modules for words in _module_ailments(module)]
    if age > HEARTBEAT_SECONDS * MISSED_HEARTBEATS:
        found.insert(0, f"it was last heard of {age:.0f} s ago")
    return tuple(found)


def _module_ailments(module: ModuleReport) -> list[str]:
    found = [f"{module.module}: {problem}" for problem in module.problems]
    if module.state is ModuleState.FAILED:
        found.append(f"{module.module} has failed")
    elif module.healthy is False:
        found.append(f"{module.module} does not answer its health probe")
    return found


def environment_healthy(*, nodes: int, healthy: int) -> bool:
    """An environment is healthy when all its nodes are; one without nodes is not."""
    return nodes > 0 and healthy == nodes
