"""What cannot be is refused when the plan is made, naming the field."""

from collections import Counter
from collections.abc import Sequence
from typing import Final

from domain.errors import PlanImpossible
from domain.manifest import Manifest
from domain.node import Node
from domain.placement import zone_limits, zone_of
from domain.plan import Step
from domain.policy import Deadlines, EnvironmentPolicy
from domain.strategy import resolve
from domain.waiting import certain_waits

# A workflow's history has room for about this many waves (Temporal ends one at 51,200 events).
MOST_WAVES: Final = 1000


def few_enough(waves: Sequence[Sequence[Node]]) -> None:
    """More waves than a workflow's history has room for are an error of the strategy."""
    if len(waves) > MOST_WAVES:
        raise PlanImpossible(
            f"{len(waves)} waves are too many ({MOST_WAVES} at most): let more nodes change together",
            field="strategy",
        )


def in_time(steps: Sequence[Step], deadlines: Deadlines, manifest: Manifest | None) -> None:
    """A deadline that must pass before the plan can be through is an error of the plan."""
    waits = certain_waits(steps)
    if waits >= deadlines.deployment:
        raise PlanImpossible(
            f"its bakes and analyses alone take {waits:.0f} s, and the deployment may take"
            f" {deadlines.deployment:.0f} s",
            field="deadlines.deployment",
        )
    start = manifest.process.start_timeout if manifest is not None and manifest.process is not None else 0
    if start >= deadlines.node:
        raise PlanImpossible(
            f"the program may take {start:.0f} s to start, and one node {deadlines.node:.0f} s for all of it",
            field="deadlines.node",
        )


def can_run_beside(manifest: Manifest | None) -> None:
    """A program that binds its own ports does not run beside itself."""
    if manifest is not None and manifest.process is not None and manifest.process.swap == "restart":
        raise PlanImpossible(
            f'{manifest.name} has swap = "restart": it binds its own ports and cannot run beside itself;'
            " use rolling or canary",
            field="strategy",
        )


def min_healthy(policy: EnvironmentPolicy, nodes: Sequence[Node]) -> dict[str, int]:
    """The policy's margin, zone by zone.

    Raises:
        PlanImpossible: no node of a zone could ever start.
    """
    if policy.min_healthy is None:
        return {}
    margin = policy.min_healthy
    needed = zone_limits(nodes, lambda in_zone: resolve(margin, in_zone))
    sizes = Counter(zone_of(node) for node in nodes)
    for zone, least in needed.items():
        if least >= sizes[zone]:
            where = f"zone {zone!r}" if zone else "the nodes without a zone"
            raise PlanImpossible(
                f"min_healthy asks for {least} of {sizes[zone]} in {where}: no node there could be changed",
                field="min_healthy",
            )
    return needed
