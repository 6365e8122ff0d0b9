"""A guard at work: what it is asked, and the analysis that its looks and checks are of."""

import math

from pydantic import Field

from domain.analysis import Outcome, Verdict
from domain.base import Frozen
from domain.guard import Against, GuardRule
from domain.measuring import CheckProgress
from domain.messages import AnalysisInput
from domain.names import EnvironmentName, ModuleName, NodeName, TenantId, guard_id
from domain.policy import AnalysisRule


class Guarded(Frozen):
    """Where a guard stands when its workflow continues as new.

    Attributes:
        opened: when it began, seconds since the epoch.
        looks, misses: how many so far, and how many of the last ones failed in a row.
        doubts: looks that could not judge.
        checks: the condition checks by name.
    """

    opened: float
    looks: int = 0
    misses: int = 0
    doubts: int = 0
    checks: dict[str, CheckProgress] = Field(default_factory=dict)


class GuardInput(Frozen):
    """One completed deployment to be watched: the nodes that it left on its release.

    `began` is when it began to change nodes, seconds since the epoch; None where that is not known.
    """

    tenant: TenantId
    environment: EnvironmentName
    deployment: str
    module: ModuleName
    version: str
    nodes: tuple[NodeName, ...]
    wave: int
    rule: GuardRule
    began: float | None = None
    continues: Guarded | None = None


def guard_analysis(request: GuardInput, opened: float) -> AnalysisInput:
    """The guard as an analysis: on which nodes, against what, with which limits."""
    rule = request.rule
    began = request.began if request.began is not None else opened
    return AnalysisInput(
        tenant=request.tenant,
        environment=request.environment,
        deployment=request.deployment,
        analysis=guard_id(request.deployment),
        wave=request.wave,
        module=request.module,
        canary=request.nodes,
        baseline=(),
        canary_version=request.version,
        rule=AnalysisRule(
            judge=rule.judged_by,
            alpha=rule.alpha,
            duration=rule.seconds,
            interval=rule.interval,
            warm_up=0,
            extensions=0,
            metrics=rule.metrics,
            thresholds=rule.thresholds,
            mann_whitney=rule.mann_whitney,
            health=rule.health,
            sources=rule.sources,
            conditions=rule.conditions,
        ),
        subject=f"guard of {request.module}@{request.version}",
        against="health" if rule.against is Against.LIMITS else str(rule.against),
        began=began,
        shift=guard_shift(rule, opened - began),
    )


def guard_shift(rule: GuardRule, rollout: float) -> float | None:
    """Seconds between a moment of the guard and the one that it is compared with; None without a fixed one.

    The last moment of the guard is compared with one before the rollout, which took `rollout` seconds.
    """
    if rule.against is not Against.BEFORE:
        return None
    shift = max(0.0, rollout) + rule.seconds + rule.interval
    return shift if rule.whole is None else math.ceil(shift / rule.whole) * rule.whole


def look_back(rule: GuardRule, since: float) -> float:
    """How far a look reaches that comes `since` seconds after the guard opened."""
    return since if rule.against is Against.BEFORE else rule.window


def ending(rule: GuardRule, stands: Guarded, verdict: Verdict | None) -> str:
    """In words, how a guard without a breach ended: what could not be judged is no good news."""
    words = f"no breach in {rule.seconds:.0f} s after completion"
    if stands.doubts:
        words += f"; {stands.doubts} of {stands.looks} looks could not judge"
    if verdict is not None and verdict.outcome is not Outcome.PASS:
        words += f"; at last {verdict.outcome}: {verdict.reason}"
    return words
