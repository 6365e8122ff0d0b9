"""Undo: back to an earlier release that ran in the environment, at once and on the nodes that differ only."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Final

from domain.errors import PlanImpossible
from domain.names import EnvironmentName, NodeName, TenantId
from domain.node import Node
from domain.plan import Activate, Plan, Stage, Verify, Wave
from domain.planner import LeftOut
from domain.policy import EnvironmentPolicy
from domain.release import ReleaseRef
from domain.strategy import UNDO

NOBODY: Final = LeftOut()


def undo_plan(
    *,
    tenant: TenantId,
    environment: EnvironmentName,
    release: ReleaseRef,
    nodes: Sequence[Node],
    running: Mapping[NodeName, ReleaseRef | None],
    policy: EnvironmentPolicy,
    left_out: LeftOut = NOBODY,
) -> Plan:
    """One wave without gates, bakes or analyses: stage where the release is gone, activate, verify.

    Args:
        tenant: the owner of the environment.
        environment: where to go back.
        release: the earlier release.
        nodes: all nodes of the environment.
        running: what each node runs of the module now; None where it has none.
        policy: its deadlines, failure budget and way back hold here too.
        left_out: nodes of the environment that are not changed, and why.

    Raises:
        PlanImpossible: the environment has no nodes, or all of them run the release.
    """
    if not nodes:
        raise PlanImpossible(f"environment {environment!r} has no nodes", field="environment")
    present = [running.get(node.name) for node in nodes]
    differing = tuple(node.name for node in nodes if running.get(node.name) != release)
    if not differing:
        raise PlanImpossible(f"every node of {environment} runs {release}", field="to")
    versions = Counter(ref.version if ref is not None else None for ref in present if ref != release)
    return Plan(
        tenant=tenant,
        environment=environment,
        release=release,
        strategy=UNDO,
        replaces=versions.most_common(1)[0][0],
        waves=(Wave(number=1, nodes=differing),),
        steps=(Stage(wave=1), Activate(wave=1), Verify(wave=1)),
        deadlines=policy.deadlines,
        failures=policy.failures,
        rollback=policy.rollback,
        deferred=left_out.deferred,
        quarantined=left_out.quarantined,
        unsigned_votes=policy.unsigned_votes,
    )
