"""The fresh baseline: as many unchanged nodes as changed ones, restarted on the release that they run.

A canary's process is young: caches are cold, memory has not grown yet. Compared with processes that have run
for weeks it looks better or worse than its release is, so both sides are made equally old (Kayenta calls the
second group the baseline cluster).
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from domain.base import Frozen
from domain.errors import PlanImpossible
from domain.names import NodeName
from domain.node import CLASS_LABELS, Node
from domain.placement import fill
from domain.plan import Analyze, Plan, Step, Verify
from domain.steps import Renew

BASELINE_NODES: Final = 200  # more baseline nodes than this make no verdict better

Class = tuple[str, ...]


class FreshBaseline(Frozen):
    """What a wave's analysis compares with, told before anything moves.

    Attributes:
        renewed: nodes that are restarted for it when this wave has changed, by zone.
        nodes: the whole group, with those that were restarted for earlier waves.
        reason: why it is smaller than the changed nodes; "" when it is not.
    """

    renewed: dict[str, int]
    nodes: int
    reason: str = ""


def with_fresh_baseline(
    steps: Sequence[Step],
    waves: Sequence[Sequence[Node]],
    stable: Mapping[NodeName, bool],
    limits: Mapping[str, int] | None,
) -> list[Step]:
    """The steps, with the restarts before each analysis whose rule wants a fresh baseline.

    They come right after the wave was read back, and stay within `limits` per zone.
    A node that was restarted for an earlier wave stays in the group as long as it is not changed.

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
        if not _wants(step):
            found.append(step)
            continue
        changed = [node for wave in waves[: step.wave] for node in wave]
        names = dict.fromkeys(node.name for node in changed)
        kept = [node for node in group if node.name not in names]
        known = dict.fromkeys(node.name for node in kept)
        left = [
            node
            for wave in waves[step.wave :]
            for node in wave
            if node.name not in known and stable.get(node.name, False)
        ]
        fresh = _alike(changed, kept, left)
        group = [*kept, *fresh]
        if not group:
            raise PlanImpossible(
                f"no node that wave {step.wave} leaves unchanged runs the release that is replaced: there is"
                " no fresh baseline to judge against",
                field="analysis.against",
            )
        place = _place(found, step.wave)
        found[place:place] = _renewals(step.wave, fresh, limits)
        found.append(step)
    return found


def fresh_baseline(plan: Plan, wave: int, zones: Mapping[NodeName, str]) -> FreshBaseline | None:
    """What this wave is compared with; None where its analysis wants no fresh baseline."""
    own = [step for step in plan.steps if step.wave == wave]
    if not any(map(_wants, own)):
        return None
    renewed = Counter(zones[name] for step in own if isinstance(step, Renew) for name in step.nodes)
    nodes, changed = len(plan.fresh_baseline(wave)), len(plan.changed_by(wave))
    left = len(plan.remaining_after(wave))
    reason = ""
    if nodes < min(changed, BASELINE_NODES):
        reason = f"{changed} nodes are changed, and of the {left} others {nodes} run what is replaced"
    elif nodes < changed:
        reason = f"more than {BASELINE_NODES} make no verdict better"
    return FreshBaseline(renewed=dict(sorted(renewed.items())), nodes=nodes, reason=reason)


def _wants(step: Step) -> bool:
    return isinstance(step, Analyze) and step.against == "baseline" and step.rule.against == "fresh"


def _alike(changed: Sequence[Node], kept: Sequence[Node], left: Sequence[Node]) -> list[Node]:
    """For each changed node that no kept one stands for, the one of `left` that is most like it.

    Of nodes that are equally alike comes the one that changes last, so that it serves the longest.
    """
    classes: dict[Class, list[Node]] = {}
    for node in left:
        classes.setdefault(_class(node), []).append(node)
    stands = Counter(map(_class, kept))
    most = min(len(changed), BASELINE_NODES) - len(kept)
    chosen: list[Node] = []
    for node in changed:
        key = _class(node)
        if stands[key]:
            stands[key] -= 1
            continue
        if len(chosen) >= most or not classes:
            break
        nearest = key if key in classes else min(classes, key=lambda other: (_difference(key, other), other))
        chosen.append(classes[nearest].pop())
        if not classes[nearest]:
            del classes[nearest]
    return chosen


def _class(node: Node) -> Class:
    return tuple(node.labels.get(label, "") for label in CLASS_LABELS)


def _difference(one: Class, other: Class) -> int:
    return sum(mine != theirs for mine, theirs in zip(one, other, strict=True))


def _place(steps: Sequence[Step], wave: int) -> int:
    """Right after the wave was read back, so that both groups are equally old."""
    reads = [place for place, step in enumerate(steps) if isinstance(step, Verify) and step.wave == wave]
    return reads[0] + 1 if reads else len(steps)


def _renewals(wave: int, nodes: Sequence[Node], limits: Mapping[str, int] | None) -> Iterator[Renew]:
    if not nodes:
        return
    size = len(nodes)
    for part in fill(nodes, size, limits) if limits is not None else [nodes]:
        yield Renew(wave=wave, nodes=tuple(node.name for node in part))
