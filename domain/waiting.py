"""How long the waits of a plan take by themselves: a lower bound, for nodes and people take their time."""

from collections.abc import Iterable

from domain.plan import Analyze, Bake, Step
from domain.steps import Keep


def certain_wait(step: Step) -> float:
    """The seconds that a step waits if nobody skips it; 0 for one that is done when its nodes are."""
    if isinstance(step, Bake | Keep):
        return step.seconds
    return step.rule.warm_up + step.rule.duration if isinstance(step, Analyze) else 0.0


def certain_waits(steps: Iterable[Step]) -> float:
    """The seconds that all of them wait together."""
    return sum(map(certain_wait, steps))
