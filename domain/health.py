"""When a node counts as healthy, and an environment."""

from typing import Final

from pydantic import Field

from domain.base import Strict
from domain.wire import ModuleReport, ModuleState, NodeReport

HEARTBEAT_SECONDS: Final = 10.0  # agents report at least this often
MISSED_HEARTBEATS: Final = 3


class HealthLimits(Strict):
    """What is healthy in itself, where there is nothing to compare with.

    Attributes:
        unhealthy: the largest share of failed health probes, on any one node.
        errors: the largest share of failed requests, over all nodes.
        latency: the largest 95 % quantile of the requests' duration, in seconds; None sets no limit.
        minimum_requests: with fewer, errors and latency are left out.
        minimum_samples: fewer from any node, and nothing is said.
    """

    unhealthy: float = Field(default=0.1, ge=0, le=1)
    errors: float = Field(default=0.01, ge=0, le=1)
    latency: float | None = Field(default=None, gt=0)
    minimum_requests: int = Field(default=50, ge=1)
    minimum_samples: int = Field(default=3, ge=1)


def ailments(report: NodeReport | None, age: float | None) -> tuple[str, ...]:
    """What is wrong with a node, in words; empty when it is healthy.

    Args:
        report: its last report; None when it never sent one.
        age: seconds since then.
    """
    if report is None or age is None:
        return ("it has never reported",)
    found = [words for module in report.modules for words in module_ailments(module)]
    if age > HEARTBEAT_SECONDS * MISSED_HEARTBEATS:
        found.insert(0, f"it was last heard of {age:.0f} s ago")
    return tuple(found)


def module_ailments(module: ModuleReport) -> list[str]:
    """What is wrong with one module of a node, in words."""
    found = [f"{module.module}: {problem}" for problem in module.problems]
    if module.state is ModuleState.FAILED:
        found.append(f"{module.module} has failed")
    elif module.healthy is False:
        found.append(f"{module.module} does not answer its health probe")
    return found


def environment_healthy(*, nodes: int, healthy: int) -> bool:
    """An environment is healthy when all its nodes are; one without nodes is not."""
    return nodes > 0 and healthy == nodes
