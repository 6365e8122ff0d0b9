"""Asking the nodes of an environment what they run, before a plan is made."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field

from clients.agent import AgentClient
from domain.errors import NodeUnreachable, PlanImpossible, WrongTenant
from domain.health import module_ailments
from domain.names import ModuleName, NodeName
from domain.node import Node
from domain.policy import EnvironmentPolicy
from domain.release import ReleaseRef
from store.records import PlanningRequest

READS_AT_ONCE = 64
READ_DEADLINE = 30.0  # seconds per node, retries included: an agent that restarts is back by then

Running = dict[ModuleName, ReleaseRef]  # what one node runs


@dataclass
class Survey:
    """What the nodes said: the release of each module on each, on which the module is ill, who is silent."""

    running: dict[NodeName, Running] = field(default_factory=dict)
    ailing: list[NodeName] = field(default_factory=list)
    silent: list[NodeName] = field(default_factory=list)


async def survey(agents: AgentClient, fleet: Sequence[Node], module: ModuleName) -> Survey:
    """Read it from each node itself, now: what a rollback of `module` returns to."""
    slots = asyncio.Semaphore(READS_AT_ONCE)
    found = Survey()

    async def read(node: Node) -> None:
        async with slots:
            try:
                report = await agents.report(node.address, deadline=READ_DEADLINE)
            except NodeUnreachable:
                found.silent.append(node.name)
                return
            except WrongTenant as error:
                raise WrongTenant(f"{node.name} at {node.address}: {error.message}") from error
        found.running[node.name] = {each.module: each.current for each in report.modules if each.current}
        if any(module_ailments(each) for each in report.modules if each.module == module):
            found.ailing.append(node.name)

    await asyncio.gather(*(read(node) for node in fleet))
    return found


def wanted_nodes(
    wanted: PlanningRequest, everybody: Sequence[Node], quarantined: Sequence[NodeName]
) -> list[Node]:
    """The nodes that the deployment is about: those asked for, less the quarantined.

    Raises:
        PlanImpossible: there are nodes, but none of them is left.
    """
    chosen = wanted.only_nodes
    able = [
        node for node in everybody if node.name not in quarantined and (chosen is None or node.name in chosen)
    ]
    if everybody and not able:
        raise PlanImpossible("all nodes that it is about are quarantined or gone", field="environment")
    return able


def present_nodes(nodes: Sequence[Node], found: Survey, policy: EnvironmentPolicy) -> list[Node]:
    """Those that answer; the others are deferred, if they are not too many.

    Raises:
        PlanImpossible: they are.
    """
    if policy.offline.exceeded(offline=len(found.silent), nodes=len(nodes)):
        names = ", ".join(sorted(found.silent)[:20])
        raise PlanImpossible(
            f"these nodes do not answer, and are more than the policy's 'offline' allows: {names}."
            " Quarantine them to go without them",
            field="environment",
        )
    return [node for node in nodes if node.name in found.running]
