"""What a plan will take and what is at stake at each wave, told before anything moves."""

import statistics
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

from domain.base import Frozen
from domain.baseline import ChosenBaseline, chosen_baseline
from domain.names import NodeName
from domain.plan import Gate, Plan, Step
from domain.steps import Pause
from domain.waiting import certain_wait, certain_waits

# Seconds that steps of each kind took in earlier deployments, beyond what they wait by themselves.
History = Mapping[str, Sequence[float]]


class Estimate(Frozen):
    """How many seconds something will take, people's decisions and pauses not counted.

    Attributes:
        typical: the median of earlier times, and what is waited for certain; None is unknown.
        low, high: the range; without history, `low` is what is waited for certain and `high` unknown.
        unknown: kinds of steps that no earlier deployment has run.
        people: how many gates and pauses without an end are in it.
    """

    typical: float | None
    low: float
    high: float | None
    unknown: tuple[str, ...] = ()
    people: int = 0


class Blast(Frozen):
    """What is to be taken back if a wave fails: its nodes and those of the waves before it.

    `whole_zones` are the zones of which no node would be left on the old release.
    """

    nodes: int
    share: float
    whole_zones: tuple[str, ...]


class WaveForecast(Frozen):
    """One wave.

    Attributes:
        zones: nodes that change, by zone.
        left: nodes of each of these zones that do not change in this wave, and so can serve meanwhile.
        margin: `left` beyond what the policy wants to be up at least.
        gates: those that ask before it changes.
        blast: what is at stake if it fails.
        baseline: what its analysis compares with, where that is not all nodes that are not changed yet.
    """

    wave: int
    nodes: int
    zones: dict[str, int]
    left: dict[str, int]
    margin: dict[str, int]
    changed_so_far: int
    steps: tuple[str, ...]
    gates: tuple[str, ...]
    expected: Estimate
    blast: Blast
    baseline: ChosenBaseline | None = None


def estimate(steps: Sequence[Step], history: History) -> Estimate:
    """How long these steps will take."""
    waits = certain_waits(steps)
    kinds = [step.kind for step in steps if not isinstance(step, Gate | Pause)]
    unknown = tuple(dict.fromkeys(kind for kind in kinds if not history.get(kind)))
    people = sum(
        isinstance(step, Gate) or (isinstance(step, Pause) and step.seconds is None) for step in steps
    )
    if unknown:
        return Estimate(typical=None, low=waits, high=None, unknown=unknown, people=people)
    return Estimate(
        typical=waits + sum(statistics.median(history[kind]) for kind in kinds),
        low=waits + sum(min(history[kind]) for kind in kinds),
        high=waits + sum(max(history[kind]) for kind in kinds),
        people=people,
    )


def _waits_for_people(step: Step) -> bool:
    return isinstance(step, Gate) or (isinstance(step, Pause) and step.seconds is None)


def forecast(
    plan: Plan, zones: Mapping[NodeName, str], history: History, least: Mapping[str, int]
) -> list[WaveForecast]:
    """Each wave of a plan, looked at before it starts.

    Args:
        plan: the plan.
        zones: the zone of each of its nodes.
        history: see above.
        least: how many nodes of each zone the policy wants to be up; none where it does not say.
    """
    sizes = Counter(zones[name] for name in plan.nodes)
    steps: dict[int, list[Step]] = {wave.number: [] for wave in plan.waves}
    for step in plan.steps:
        steps[step.wave].append(step)
    changed: Counter[str] = Counter()
    found = []
    for wave in plan.waves:
        own = steps[wave.number]
        taken = Counter(zones[name] for name in wave.nodes)
        changed += taken
        left = {zone: sizes[zone] - taken[zone] for zone in sorted(taken)}
        found.append(
            WaveForecast(
                wave=wave.number,
                nodes=len(wave.nodes),
                zones=dict(sorted(taken.items())),
                left=left,
                margin={zone: number - least.get(zone, 0) for zone, number in left.items()},
                changed_so_far=changed.total(),
                steps=tuple(step.kind for step in own),
                gates=tuple(step.rule.name for step in own if isinstance(step, Gate)),
                expected=estimate(own, history),
                blast=_blast(changed, sizes),
                baseline=chosen_baseline(plan, wave.number, zones),
            )
        )
    return found


def _blast(changed: Mapping[str, int], sizes: Mapping[str, int]) -> Blast:
    nodes = sum(changed.values())
    whole = tuple(sorted(zone for zone, number in changed.items() if number == sizes[zone]))
    return Blast(nodes=nodes, share=nodes / sum(sizes.values()), whole_zones=whole)


def beyond_waiting(step: Step, seconds: float) -> float:
    """What a step took beyond its certain wait; nothing where somebody skipped the wait."""
    return max(0.0, seconds - certain_wait(step))


def by_kind(times: Iterable[tuple[str, float]]) -> dict[str, list[float]]:
    """Times of steps, gathered by kind."""
    gathered: dict[str, list[float]] = {}
    for kind, seconds in times:
        gathered.setdefault(kind, []).append(seconds)
    return gathered
