"""Amending a rollout under way: what may be changed of the steps still to come, and the plan that results.

What has begun stays as it is, and so do the release, the module and the nodes. Times are seconds.
"""

from collections.abc import Iterator, Sequence
from enum import StrEnum
from typing import Annotated, Final, Self, TypeVar

from pydantic import BaseModel, Field, ValidationError, model_validator

from domain.base import Frozen, Strict, own_words
from domain.errors import NotAmendable, PlanImpossible
from domain.feasibility import MOST_WAVES
from domain.gate_rule import GateRule
from domain.names import NodeName
from domain.plan import Analyze, Bake, Gate, Plan, Step, Watch, Wave
from domain.policy import AnalysisRule, Duration, FailureBudget
from domain.steps import Pause, Renew
from domain.strategy import Bake as BakeTime
from domain.waiting import certain_waits

Model = TypeVar("Model", bound=BaseModel)

# Steps that ask or look before a wave and leave its nodes alone: the wave has not begun with them.
_BEFORE: Final = (Gate, Watch)


class Changes(Strict):
    """What to change of the steps that have not begun; what is not said stays.

    Attributes:
        wave_nodes: at most so many nodes change together; larger waves are cut, and each part is read back,
            left to run and judged as the wave would have been.
        bake: how long to let waves run.
        analysis: how long analyses look.
        failures: how many nodes may fail, from the next step on.
        deadline: how long the deployment may take in all, waiting for people excluded.
        gates: further gates; `before_wave` counts the waves as they are now, and has to be one that has not
            begun.
    """

    wave_nodes: Annotated[int, Field(ge=1, le=100_000)] | None = None
    bake: BakeTime | None = None
    analysis: Duration | None = None
    failures: FailureBudget | None = None
    deadline: Duration | None = None
    gates: tuple[GateRule, ...] = Field(default=(), max_length=20)

    @model_validator(mode="after")
    def _says_something(self) -> Self:
        if all(getattr(self, name) in (None, ()) for name in Changes.model_fields):
            raise ValueError("say what to change")
        return self


class AmendmentState(StrEnum):
    """What became of an amendment. Lapsed: the rollout went past it, or another came after it."""

    WAITING = "waiting"
    APPLIED = "applied"
    REJECTED = "rejected"
    EXPIRED = "expired"
    LAPSED = "lapsed"


class Amendment(Frozen):
    """One amendment of a deployment: counted from 1, with the plan that it makes.

    Attributes:
        widens: why it needs people's approval; empty when it only narrows.
        gate: the id of that approval.
        message: how it came to its state, in words.
    """

    number: int = Field(ge=1)
    changes: Changes
    actor: str
    reason: str
    plan: Plan
    widens: tuple[str, ...] = ()
    gate: str | None = None
    state: AmendmentState
    message: str = ""


def amended(plan: Plan, step: int, changes: Changes) -> Plan:
    """The plan with these changes; everything up to the step at index `step`, which is under way, stays.

    Raises:
        NotAmendable: nothing that is still to come would change.
        PlanImpossible: there can be no such plan; `field` names the change.
    """
    done, rest = list(plan.steps[: step + 1]), list(plan.steps[step + 1 :])
    if not rest:
        raise NotAmendable("no step is still to come")
    begun = max((each.wave for each in done if not isinstance(each, _BEFORE)), default=0)
    rest = [_timed(each, changes) for each in rest]
    rest = _with_gates(plan, rest, begun, changes.gates)
    waves = plan.waves
    if changes.wave_nodes is not None:
        waves, rest = _cut(plan, rest, begun, changes.wave_nodes)
    deadlines = plan.deadlines
    if changes.deadline is not None:
        deadlines = _checked(type(deadlines), deadlines, "deadline", deployment=changes.deadline)
    if (waits := certain_waits(rest)) >= deadlines.deployment:
        raise PlanImpossible(
            f"what is still to come waits {waits:.0f} s, and the deployment may take"
            f" {deadlines.deployment:.0f} s in all",
            field="deadline",
        )
    new = _checked(
        Plan,
        plan,
        "changes",
        waves=waves,
        steps=(*done, *rest),
        deadlines=deadlines,
        failures=changes.failures or plan.failures,
    )
    if new == plan:
        raise NotAmendable("nothing that is still to come would change")
    return new


def diverges(plan: Plan, other: Plan) -> int:
    """The index of the first step that differs, or is about other nodes; the number of steps if none does."""
    pairs = zip(plan.steps, other.steps, strict=False)
    same = 0
    for mine, its in pairs:
        if mine != its or plan.wave(mine.wave) != other.wave(its.wave):
            return same
        same += 1
    return same


def _timed(step: Step, changes: Changes) -> Step:
    if isinstance(step, Bake) and changes.bake is not None:
        return step.model_copy(update={"seconds": changes.bake})
    if isinstance(step, Analyze) and changes.analysis is not None:
        interval = min(step.rule.interval, changes.analysis)
        rule = _checked(AnalysisRule, step.rule, "analysis", duration=changes.analysis, interval=interval)
        return step.model_copy(update={"rule": rule})
    return step


def _with_gates(plan: Plan, rest: Sequence[Step], begun: int, rules: Sequence[GateRule]) -> list[Step]:
    """The steps with each new gate before the wave that it asks for."""
    names = [gate.name for gate in plan.gates]
    steps = list(rest)
    for index, rule in enumerate(rules):
        later = plan.waves[begun:]
        added = [(wave.number, gate) for wave in later if (gate := rule.before(wave.number)) is not None]
        if not added:
            words = f"no wave {rule.before_wave} is still to begin"
            raise PlanImpossible(words, field=f"gates.{index}.before_wave")
        for number, gate in added:
            if gate.name in names:
                words = f"the plan has a gate {gate.name!r} already"
                raise PlanImpossible(words, field=f"gates.{index}.name")
            names.append(gate.name)
            place = next(place for place, each in enumerate(steps) if _begins(each, number))
            steps.insert(place, Gate(wave=number, rule=gate))
    return steps


def _begins(step: Step, wave: int) -> bool:
    return step.wave == wave and not isinstance(step, _BEFORE)


def _cut(plan: Plan, rest: Sequence[Step], begun: int, most: int) -> tuple[tuple[Wave, ...], list[Step]]:
    """Waves that have not begun in parts of at most `most` nodes, each with the wave's steps."""
    order = [max(each.wave, begun) for each in rest]
    if any(plan.beside(wave.number) for wave in plan.waves[begun:]):
        raise PlanImpossible("a wave that is switched at once cannot be cut", field="wave_nodes")
    if any(isinstance(each, Renew) and each.wave > begun for each in rest):
        raise PlanImpossible(
            "a wave that is judged against a fresh baseline cannot be cut", field="wave_nodes"
        )
    if order != sorted(order):
        raise PlanImpossible("the plan's waves go side by side: they cannot be cut", field="wave_nodes")
    waves = list(plan.waves[:begun])
    steps: list[Step] = [each for each in rest if each.wave <= begun]
    for wave in plan.waves[begun:]:
        own = [each for each in rest if each.wave == wave.number]
        parts = list(_parts(wave.nodes, most))
        for place, nodes in enumerate(parts, start=1):
            number = len(waves) + 1
            waves.append(Wave(number=number, nodes=nodes))
            kept = [each for each in own if _belongs(each, first=place == 1, last=place == len(parts))]
            steps.extend(each.model_copy(update={"wave": number}) for each in kept)
    if len(waves) > MOST_WAVES:
        raise PlanImpossible(f"{len(waves)} waves are too many ({MOST_WAVES} at most)", field="wave_nodes")
    return tuple(waves), steps


def _parts(nodes: tuple[NodeName, ...], most: int) -> Iterator[tuple[NodeName, ...]]:
    """Parts of about the same size."""
    count = -(-len(nodes) // most)
    edges = [len(nodes) * index // count for index in range(count + 1)]
    for index in range(count):
        yield nodes[edges[index] : edges[index + 1]]


def _belongs(step: Step, *, first: bool, last: bool) -> bool:
    """Gates come before the first part, pauses after the last, everything else around each."""
    if isinstance(step, _BEFORE):
        return first
    return last if isinstance(step, Pause) else True


def _checked(model: type[Model], old: Model, field: str, **changes: object) -> Model:
    """`old` with these changes, validated as a whole.

    Raises:
        PlanImpossible: it breaks a rule of its own.
    """
    present = {name: getattr(old, name) for name in model.model_fields}
    try:
        return model.model_validate({**present, **changes})
    except ValidationError as error:
        raise PlanImpossible(own_words(error.errors()[0]["msg"]), field=field) from error
