"""Custom step lists compile to waves and steps here; what cannot be is refused by field and reason."""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import accumulate, pairwise
from typing import Final

from domain.custom_steps import Ask, CustomStep, Hold, Judge, LetRun, OnNodes, Size
from domain.errors import PlanImpossible
from domain.node import Node
from domain.placement import zone_of
from domain.plan import Activate, Analyze, Bake, Gate, Stage, Step, Verify
from domain.policy import AnalysisRule, EnvironmentPolicy
from domain.steps import CHANGES, Keep, Pause, Retire, Smoke, Start, Switch, disorder
from domain.strategy import Custom, resolve

_ON_NODES: Final[dict[str, Callable[..., Step]]] = {
    "stage": Stage,
    "start": Start,
    "smoke": Smoke,
    "activate": Activate,
    "switch": Switch,
    "verify": Verify,
    "retire": Retire,
}
_NO_MOVES = ("gate", "pause")


def compile_custom(
    strategy: Custom,
    nodes: Sequence[Node],
    policy: EnvironmentPolicy,
    gates: Mapping[int, Sequence[Gate]],
    *,
    installed: bool,
) -> tuple[list[list[Node]], list[Step]]:
    """The waves and steps of a list.

    Args:
        strategy: the list.
        nodes: in the order in which they change.
        policy: what the environment demands: its analysis, and gates that no list can leave out.
        gates: the policy's gates by the wave that must not change before them.
        installed: whether there is something to compare with.

    Raises:
        PlanImpossible: sizes that do not add up to the environment, an order that cannot be, a gate that
            the policy does not have or has earlier; `field` names the wave or the step.
    """
    waves = _waves(strategy.waves, nodes)
    _check_zones(strategy, waves, nodes)
    _check_order(strategy.steps, len(waves))
    left = {number: list(rules) for number, rules in gates.items()}
    steps: list[Step] = []
    present = 1
    for index, wanted in enumerate(strategy.steps):
        field = f"strategy.steps.{index}"
        if isinstance(wanted, Ask):
            steps.append(_asked(wanted, left, field))
            continue
        steps.extend(_due(wanted, left))
        present = wanted.wave if not isinstance(wanted, Hold) else present
        steps.append(_step(wanted, present, policy.analysis, baseline=installed and present < len(waves)))
    return waves, steps


def wave_sizes(sizes: Sequence[Size], nodes: int) -> list[int]:
    """How many nodes each wave of a list has.

    Raises:
        PlanImpossible: they do not add up to the environment's; `field` names the wave.
    """
    found: list[int] = []
    for index, size in enumerate(sizes):
        left = nodes - sum(found)
        number = left if size == "rest" else resolve(size, nodes)
        if not 1 <= number <= left:
            raise PlanImpossible(
                f"wave {index + 1} takes {max(number, 1)} of {nodes} nodes, and {left} are left",
                field=f"strategy.waves.{index}",
            )
        found.append(number)
    if sum(found) < nodes:
        raise PlanImpossible(
            f"{nodes - sum(found)} of {nodes} nodes are in no wave: the last one may be 'rest'",
            field="strategy.waves",
        )
    return found


def _waves(sizes: Sequence[Size], nodes: Sequence[Node]) -> list[list[Node]]:
    ends = list(accumulate(wave_sizes(sizes, len(nodes)), initial=0))
    return [list(nodes[start:end]) for start, end in pairwise(ends)]


def _check_zones(strategy: Custom, waves: Sequence[Sequence[Node]], nodes: Sequence[Node]) -> None:
    if strategy.max_unavailable is None:
        return
    sizes = Counter(map(zone_of, nodes))
    in_place = [each.wave for each in strategy.steps if isinstance(each, OnNodes) and each.step == "activate"]
    for number, wave in enumerate(waves, start=1):
        for zone, taken in sorted(Counter(map(zone_of, wave)).items()):
            limit = resolve(strategy.max_unavailable, sizes[zone])
            if number in in_place and taken > limit:
                raise PlanImpossible(
                    f"wave {number} changes {taken} nodes of zone {zone!r}, {limit} may be unavailable",
                    field=f"strategy.waves.{number - 1}",
                )


def _check_order(steps: Sequence[CustomStep], waves: int) -> None:
    """Gates and pauses may stand anywhere, so only the others count."""
    indexed = [(index, each) for index, each in enumerate(steps) if not isinstance(each, Ask | Hold)]
    wrong = disorder([(each.step, each.wave) for _, each in indexed], waves)
    if wrong is not None:
        place = indexed[wrong[0]][0] if indexed else 0
        raise PlanImpossible(wrong[1], field=f"strategy.steps.{place}")


def _asked(wanted: Ask, left: Mapping[int, list[Gate]], field: str) -> Gate:
    for gates in left.values():
        for gate in gates:
            if gate.rule.name == wanted.name:
                gates.remove(gate)
                return gate
    raise PlanImpossible(f"the policy has no gate {wanted.name!r} from here on", field=field)


def _due(wanted: CustomStep, left: Mapping[int, list[Gate]]) -> Iterator[Gate]:
    """The gates that the policy wants passed before this step and that the list has not placed earlier."""
    if wanted.step in _NO_MOVES:
        return
    changes = wanted.wave if wanted.step in CHANGES and isinstance(wanted, OnNodes) else 1
    for number in sorted(left):
        if number <= changes:
            yield from left[number]
            left[number].clear()


def _step(wanted: CustomStep, wave: int, rule: AnalysisRule, *, baseline: bool) -> Step:
    match wanted:
        case OnNodes():
            return _ON_NODES[wanted.step](wave=wave)
        case LetRun():
            return (Bake if wanted.step == "bake" else Keep)(wave=wave, seconds=wanted.seconds)
        case Hold():
            return Pause(wave=wave, seconds=wanted.seconds)
        case Judge():
            if wanted.duration is not None:
                shorter = min(rule.interval, wanted.duration)
                rule = rule.model_copy(update={"duration": wanted.duration, "interval": shorter})
            against = wanted.against or ("baseline" if baseline else "health")
            return Analyze(wave=wave, rule=rule, against=against)
        case Ask():
            raise TypeError("gates are placed by name")
