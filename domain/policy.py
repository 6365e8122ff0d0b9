"""What an environment demands of every rollout: strategy, gates, analysis, deadlines, failure budget.

Times are seconds.
"""

import math
from typing import Annotated, Literal, Self

from pydantic import Field, field_validator, model_validator

from domain.agent_metrics import AGENT_METRICS, AGENTS_REMEMBER
from domain.arrival import Arrival, SupersedeMode
from domain.attribution import IllBudget
from domain.availability import OfflineBudget
from domain.base import Strict
from domain.gate_rule import GateRule, SubjectKind, collision
from domain.guard import GuardRule
from domain.health import HealthLimits
from domain.hooks import HookRule
from domain.judging import JudgeName, JudgePolicy, MannWhitney, Thresholds
from domain.metrics import MetricSpec
from domain.names import EnvironmentName
from domain.promotion import PromotionRule
from domain.providers import ConditionCheck, PrometheusSource, measured_once, named_once
from domain.roles import Role
from domain.strategy import Amount, BlueGreen, Canary, Direct, Rolling, Strategy

Duration = Annotated[float, Field(gt=0, le=90 * 86400)]


class AnalysisRule(Strict):
    """How a wave is judged after it was changed.

    Attributes:
        judge: sequential (may look at any time, passes only with a certificate), threshold (fixed limits,
            for comparisons of seconds), mann-whitney (Kayenta's).
        alpha: the chance of a wrong fail, and of a wrong pass, over all looks and metrics of a wave.
        duration: how long to look; interval: how often; warm_up: what to leave out after the switch.
        metrics: what of the agents' metrics is judged, and how strictly.
        against: concurrent: nodes that have not changed yet, over the same minutes. before: the same nodes
            before the change, at a fixed shift of the clock that is as long as the analysis may take. For
            fleets without two nodes that are alike; what changes by itself is then blamed on the release.
            paired: as concurrent, for each changed node one unchanged node that is as like it as can be.
            fresh: as paired, restarted on the release that they run when the wave has changed: what a fresh
            process does differently is then on both sides.
        traffic: "even" where every node should get as many requests as any other: then the split is tested
            first; "any" where nothing is known about it.
        extensions: how many further durations an inconclusive analysis may take.
        on_inconclusive: what then: hold for a person, or roll back. Inconclusive never promotes. A provider
            that is down always holds: that says nothing about the release.
        outage: seconds for which looks go on past their time because a provider is down; once it is back,
            they take another duration. Then a person is asked.
        health: the limits where nothing is left to compare with: on a first install, after a switch of all.
        early_pass: a pass ends the analysis at once, not at the end of its duration.
        sources: further metrics of the judge's, from Prometheus.
        conditions: measured beside the judge's metrics; the worse of the two decides.
    """

    judge: JudgeName = "sequential"
    alpha: float = Field(default=0.05, gt=0, lt=0.5)
    duration: Duration = 600
    interval: Duration = 30
    warm_up: float = Field(default=10, ge=0, le=86400)
    extensions: int = Field(default=1, ge=0, le=100)
    on_inconclusive: Literal["hold", "rollback"] = "hold"
    outage: float = Field(default=1800, ge=0, le=7 * 86400)
    metrics: tuple[MetricSpec, ...] = Field(default=AGENT_METRICS, max_length=50)
    against: Literal["concurrent", "before", "paired", "fresh"] = "concurrent"
    traffic: Literal["any", "even"] = "any"
    thresholds: Thresholds = Thresholds()
    health: HealthLimits = HealthLimits()
    mann_whitney: MannWhitney = MannWhitney()
    weights: dict[str, float] = Field(default_factory=dict)
    early_pass: bool = False
    sources: tuple[PrometheusSource, ...] = Field(default=(), max_length=20)
    conditions: tuple[ConditionCheck, ...] = Field(default=(), max_length=50)

    @model_validator(mode="after")
    def _fits(self) -> Self:
        named_once(self.conditions)
        if self.interval > self.duration:
            raise ValueError("interval must not be longer than duration")
        if self.against == "before" and self.clock_shift > AGENTS_REMEMBER:
            raise ValueError(
                f"against: agents remember {AGENTS_REMEMBER:.0f} s, and duration, extensions and warm_up "
                f"together need {self.clock_shift:.0f} s of the time before the change"
            )
        measured_once(self.metrics, self.sources)
        return self

    @property
    def clock_shift(self) -> float:
        """Seconds between a moment of the analysis and the one before the change that it is compared with."""
        return self.duration * (1 + self.extensions) + self.warm_up + self.interval

    def judge_policy(self) -> JudgePolicy:
        """The part of the rule that a judge needs."""
        planned = math.ceil(self.duration * (1 + self.extensions) / self.interval)
        return JudgePolicy(
            judge=self.judge,
            alpha=self.alpha,
            planned_looks=min(100_000, planned),
            thresholds=self.thresholds,
            mann_whitney=self.mann_whitney,
            weights=self.weights,
        )


class BackgroundRule(Strict):
    """Condition checks beside the waves, from before wave `from_wave` to the end of the rollout.

    A fail turns the rollout back at once. Checks with an interval and without a count go on to the end.
    """

    conditions: tuple[ConditionCheck, ...] = Field(min_length=1, max_length=50)
    from_wave: int = Field(default=1, ge=1, le=100)
    on_inconclusive: Literal["hold", "rollback"] = "hold"

    @model_validator(mode="after")
    def _fits(self) -> Self:
        named_once(self.conditions)
        return self


class Deadlines(Strict):
    """How long one node, one wave and the whole deployment (waiting for people excluded) may take."""

    node: Duration = 120
    wave: Duration = 3600
    deployment: Duration = 4 * 3600

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if not self.node < self.wave < self.deployment:
            raise ValueError("deadlines must grow: node < wave < deployment")
        return self


class FailureBudget(Strict):
    """How many failed nodes a wave may have: a share, judged only from a minimum of executed nodes on.

    Below the minimum any failed node fails the wave, so that a percentage is never taken of one node.
    """

    share: float = Field(default=0.0, ge=0, lt=1)
    minimum_executed: int = Field(default=10, ge=1)

    def exceeded(self, *, failed: int, executed: int) -> bool:
        """Whether `failed` of `executed` nodes are too many."""
        if executed < self.minimum_executed:
            return failed > 0
        return failed > self.share * executed

    def exceeded_early(self, *, failed: int, executed: int, nodes: int) -> bool:
        """The same before all `nodes` of a wave have had their turn: the first few say nothing yet."""
        if failed > self.share * nodes:
            return True
        if executed < self.minimum_executed <= nodes:
            return False
        return self.exceeded(failed=failed, executed=executed)


class RollbackRule(Strict):
    """How hard a rollback tries by itself, and how long it then waits for a person.

    Attributes:
        rounds: how often nodes that are not proved to be back are tried again without being asked.
        pause: seconds before the second round; it grows with every further one.
        ask_for: seconds in which a person may order retry, skip_node or abandon; then what is not proved to
            be back ends as not verified. 0 does not ask.
    """

    rounds: int = Field(default=3, ge=1, le=20)
    pause: Duration = 10
    ask_for: float = Field(default=4 * 3600, ge=0, le=90 * 86400)


class HotfixRule(Strict):
    """Whether a request may declare itself a hotfix, and the gate that it passes before anything moves.

    It passes that gate before those that every deployment passes. `override` is the gate before a hotfix or
    a rollback runs in a lane that an unverified rollback has frozen.
    """

    allowed: bool = True
    gate: GateRule = GateRule(name="hotfix", before_wave=1)
    override: GateRule = GateRule(name="override", before_wave=1, role=Role.ADMIN)

    @field_validator("gate")
    @classmethod
    def _first(cls, gate: GateRule) -> GateRule:
        if gate.before_wave != 1:
            raise ValueError("the gate of a hotfix is before wave 1: before anything moves")
        return gate


class EnvironmentPolicy(Strict):
    """All of it.

    Attributes:
        supersede: how a deployment under way makes room where `arrival` is supersede, or for a hotfix.
        unsigned_votes: approvals without a token count: development only.
        requires: the environment in which a release must have completed before it may come here.
        promotion: how long a promotion lets a release run here, and what follows when it fails here.
        ill: how many nodes a rollout may lose for their own sake.
        offline: how many nodes may be away when it begins.
        min_healthy: of the nodes of each zone so many (a number or a share) must be up besides those that
            are being changed; asked before each node starts. None does not ask.
        guard: how the nodes are watched after completion, and what takes the release back then.
    """

    strategy: Strategy = Canary()
    arrival: Arrival = Arrival.QUEUE
    supersede: SupersedeMode = SupersedeMode.REVERT_FIRST
    hotfix: HotfixRule = HotfixRule()
    gates: tuple[GateRule, ...] = Field(default=(), max_length=20)
    hooks: tuple[HookRule, ...] = Field(default=(), max_length=50)
    requests: dict[SubjectKind, GateRule] = Field(default_factory=dict)
    analysis: AnalysisRule = AnalysisRule()
    background: BackgroundRule | None = None
    deadlines: Deadlines = Deadlines()
    failures: FailureBudget = FailureBudget()
    rollback: RollbackRule = RollbackRule()
    ill: IllBudget = IllBudget()
    offline: OfflineBudget = OfflineBudget()
    min_healthy: Amount | None = None
    guard: GuardRule | None = None
    unsigned_votes: bool = False
    requires: EnvironmentName | None = None
    promotion: PromotionRule = PromotionRule()

    @model_validator(mode="after")
    def _gate_names_differ(self) -> Self:
        if (name := collision(self.gates)) is not None:
            raise ValueError(f"gates: two gates have the same name {name!r}")
        own = (self.hotfix.gate.name, self.hotfix.override.name)
        if own[0] == own[1] or any(gate.name in own for gate in self.gates):
            raise ValueError("gates: the hotfix's gate and the override's need names of their own")
        hooks = [(hook.name, hook.at) for hook in self.hooks]
        if len(hooks) != len(dict.fromkeys(hooks)):
            raise ValueError("hooks: two hooks of one point have the same name")
        return self

    @field_validator("arrival")
    @classmethod
    def _no_standing_hotfix(cls, arrival: Arrival) -> Arrival:
        if arrival is Arrival.PREEMPT:
            raise ValueError("preempt is for a declared hotfix, not for every request")
        return arrival

    def rule_for(self, kind: SubjectKind) -> GateRule:
        """Who decides on a request of this kind: the policy's rule, or one approver who does not ask."""
        return self.requests.get(kind) or GateRule(name=kind)

    def of_request(
        self, *, hotfix: bool, catch_up: bool = False, tested: bool = False
    ) -> "EnvironmentPolicy":
        """What a deployment is planned by: a hotfix passes its own gate first; a catch-up passes none.

        What a catch-up brings to single nodes was approved, judged and completed on the others before; but a
        node may be what a `tested` release does not work on, so that it is tested there before it is let in.
        """
        if catch_up:
            strategy = BlueGreen(watch=0, keep=0) if tested else Direct()
            return self.model_copy(update={"gates": (), "strategy": strategy})
        if not hotfix:
            return self
        return self.model_copy(update={"gates": (self.hotfix.gate, *self.gates)})


def own_parameters(policy: EnvironmentPolicy, asked: Strategy | None) -> Strategy | None:
    """What was asked for beyond the policy; None leaves the strategy to the policy.

    A kind without parameters means the policy's own parameters where the policy is of that kind: "canary"
    in an environment with tuned canary waves gets those waves.
    """
    if asked is None:
        return None
    bare = not asked.model_fields_set - frozenset(("kind",))
    return None if bare and asked.kind == policy.strategy.kind else asked


def default_policy(environment: str) -> EnvironmentPolicy:
    """The policy that a new environment starts with; an unknown name gets production's."""
    if environment == "development":
        return EnvironmentPolicy(strategy=Direct(), unsigned_votes=True)
    if environment == "qa":
        return EnvironmentPolicy(strategy=Rolling())
    if environment == "staging":
        return EnvironmentPolicy(strategy=BlueGreen())
    return EnvironmentPolicy(gates=(GateRule(name="promotion"),))
