"""Where the background analysis begins in a plan."""

from collections.abc import Sequence

from domain.plan import Step, Watch
from domain.policy import AnalysisRule, EnvironmentPolicy


def with_background(steps: Sequence[Step], policy: EnvironmentPolicy) -> list[Step]:
    """The steps, with the start of the policy's background analysis before its first wave's first step."""
    rule = policy.background
    if rule is None:
        return list(steps)
    watched = AnalysisRule(conditions=rule.conditions, on_inconclusive=rule.on_inconclusive)
    for place, step in enumerate(steps):
        if step.wave >= rule.from_wave:
            return [*steps[:place], Watch(wave=step.wave, rule=watched), *steps[place:]]
    return list(steps)
