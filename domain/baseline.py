"""Which unchanged nodes a wave is judged against, where the policy wants neither all of them nor none.

Paired: one for each changed node, as like it as can be, so that both sides are of the same kinds of nodes.

Fresh: the same, and restarted on the release that they run. A canary's process is young: caches are cold,
memory has not grown yet. Compared with processes that have run for weeks it looks better or worse than its
release is, so both sides are made equally old (Spinnaker calls the second group the baseline cluster).
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from domain.base import Frozen
from domain.errors import PlanImpossible
from domain.names import NodeName
from domain.node import Node
from domain.placement import alike, fill
from domain.plan import Analyze, Plan, Step, Verify
from domain.steps import Renew

BASELINE_NODES: Final = 200  # more baseline nodes than this make no verdict better
Waves = Sequence[Sequence[Node]]


class ChosenBaseline(Frozen):
    """What a wave's analysis compares with, told before anything moves.

    Attributes:
        renewed: nodes that are restarted for it when this wave has changed, by zone.
        nodes: the whole group, with those that were restarted for earlier waves.
        reason: why it is smaller than the changed nodes; "" when it is not.
    """

    renewed: dict[str, int]
    nodes: int
    reason: str = ""


def with_baseline(
    steps: Sequence[Step],
    waves: Waves,
    stable: Mapping[NodeName, bool],
    limits: Mapping[str, int] | None,
) -> list[Step]:
    """The steps, with the nodes that each analysis compares with, and their restarts where it wants those.

    Restarts come right after the wave was read back, and stay within `limits` per zone. A node that was
    restarted for an earlier wave stays in the group as long as it is not changed.

    Args:
        steps: a plan's.
        waves: the nodes of each wave.
        stable: which nodes run the release that the plan replaces.
        limits: how many nodes of each zone may be in change at once; None sets no limit.

    Raises:
        PlanImpossible: no unchanged node runs the release that is replaced.
    """
    found: list[Step] = []
    group: list[Node] = []
    for step in steps:
        if not isinstance(step, Analyze) or not _chooses(step):
            found.append(step)
            continue
        paired = step.rule.against == "paired"
        left = [node for wave in waves[step.wave :] for node in wave]
        unchanged = dict.fromkeys(node.name for node in left)
        kept = [] if paired else [node for node in group if node.name in unchanged]
        chosen = _chosen(step.wave, waves, kept, [node for node in left if stable.get(node.name, False)])
        if paired:
            found.append(step.model_copy(update={"nodes": tuple(node.name for node in chosen)}))
            continue
        group = [*kept, *chosen]
        place = _place(found, step.wave)
        found[place:place] = _renewals(step.wave, chosen, limits)
        found.append(step)
    return found


def chosen_baseline(plan: Plan, wave: int, zones: Mapping[NodeName, str]) -> ChosenBaseline | None:
    """What this wave is compared with; None where that is all nodes that have not changed, or none."""
    own = [step for step in plan.steps if step.wave == wave]
    choosing = [step for step in own if isinstance(step, Analyze) and _chooses(step)]
    if not choosing:
        return None
    renewed = Counter(zones[name] for step in own if isinstance(step, Renew) for name in step.nodes)
    nodes, changed = len(choosing[0].nodes or plan.fresh_baseline(wave)), len(plan.changed_by(wave))
    left = len(plan.remaining_after(wave))
    reason = ""
    if nodes < min(changed, BASELINE_NODES):
        reason = f"{changed} nodes are changed, and of the {left} others {nodes} run what is replaced"
    elif nodes < changed:
        reason = f"more than {BASELINE_NODES} make no verdict better"
    return ChosenBaseline(renewed=dict(sorted(renewed.items())), nodes=nodes, reason=reason)


def _chooses(step: Analyze) -> bool:
    return step.against == "baseline" and step.rule.against in ("paired", "fresh")


def _chosen(wave: int, waves: Waves, kept: Sequence[Node], stable: Sequence[Node]) -> list[Node]:
    """Nodes for the changed ones that no kept one stands for."""
    changed = [node for each in waves[:wave] for node in each]
    known = dict.fromkeys(node.name for node in kept)
    left = [node for node in stable if node.name not in known]
    chosen = alike(changed, left, kept=kept, most=BASELINE_NODES)
    if not kept and not chosen:
        raise PlanImpossible(
            f"no node that wave {wave} leaves unchanged runs the release that is replaced: there is no"
            " baseline to judge against",
            field="analysis.against",
        )
    return chosen


def _place(steps: Sequence[Step], wave: int) -> int:
    """Right after the wave was read back, so that both groups are equally old."""
    reads = [place for place, step in enumerate(steps) if isinstance(step, Verify) and step.wave == wave]
    return reads[0] + 1 if reads else len(steps)


def _renewals(wave: int, nodes: Sequence[Node], limits: Mapping[str, int] | None) -> Iterator[Renew]:
    if not nodes:
        return
    for part in fill(nodes, len(nodes), limits) if limits is not None else [nodes]:
        yield Renew(wave=wave, nodes=tuple(node.name for node in part))
