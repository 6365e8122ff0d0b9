"""Inputs and results of workflows and activities. They evolve by adding fields with defaults."""

from pydantic import Field

from domain.amendment import Amendment
from domain.analysis import Verdict
from domain.arrival import SupersedeMode
from domain.base import Frozen
from domain.command import CommandClaims
from domain.deployment import Cause, NodeFailure, Phase
from domain.events import EventKind
from domain.freeze import Freeze
from domain.gate_rule import GateRule
from domain.hooks import HookRule
from domain.names import EnvironmentName, ModuleName, NodeName, TenantId
from domain.plan import Plan
from domain.policy import AnalysisRule, RollbackRule
from domain.release import ReleaseRef
from domain.strategy import UNDO


class LaneInput(Frozen):
    """The lane of one tenant's environment. All its state is in the store, so that nothing can be lost.

    `used_tokens` are those that counted lately, so that none counts twice.
    """

    tenant: TenantId
    environment: EnvironmentName
    used_tokens: tuple[str, ...] = ()


class LaneLook(Frozen):
    """A look at a lane as it stands at `at`, seconds since the epoch."""

    tenant: TenantId
    environment: EnvironmentName
    at: float


class QueuedDeployment(Frozen):
    """One entry of the lane. With `rolls_back` it takes back that completed deployment instead.

    `supersedes` is the deployment that makes room for it; `continues` is that one once it has stopped with
    nodes changed, which are this entry's from then on. `override` is the reason for running in a lane that
    an unverified rollback has frozen. `beside` is the rollout beside which this one catches nodes up that the
    rollout does not concern.

    `replaces` is the version that the last completed deployment of the module brought, where there is one.
    """

    deployment: str
    requester: str
    module: ModuleName
    version: str
    strategy: str
    rolls_back: str | None = None
    replaces: str | None = None
    phase: Phase = Phase.QUEUED
    traceparent: str | None = None
    hotfix: bool = False
    override: str | None = None
    supersedes: str | None = None
    supersede_mode: SupersedeMode | None = None
    continues: str | None = None
    beside: str | None = None

    @property
    def goes_back(self) -> bool:
        """Whether it brings back what ran before: a freeze does not hold that up."""
        return self.rolls_back is not None or self.strategy == UNDO


class LaneView(Frozen):
    """What the store knows of a lane: what runs, what waits (oldest first), and why nothing may start.

    Of a long queue it has the first, and all that is not ordinary; `waiting` counts all that wait.

    `frozen` is a rollback that nobody has resolved yet (`may_override`: an entry that says so may run, once
    people pass the `override_gate`), or a tenant that is held; `freeze` the calendar or a person. `beside`
    catches nodes up while `running` runs.
    """

    frozen: str | None = None
    may_override: bool = False
    override_gate: GateRule | None = None
    freeze: Freeze | None = None
    running: QueuedDeployment | None = None
    beside: QueuedDeployment | None = None
    queued: tuple[QueuedDeployment, ...] = ()
    waiting: int = 0


class DeploymentInput(Frozen):
    """One deployment; everything else about it is read from the store when its plan is made."""

    tenant: TenantId
    environment: EnvironmentName
    deployment: str
    requester: str
    module: ModuleName
    version: str
    traceparent: str | None = None
    continues: str | None = None


class AmendmentEntry(Frozen):
    """An amendment of a deployment as it stands, to be written down with its event."""

    tenant: TenantId
    deployment: str
    amendment: Amendment


class Successor(Frozen):
    """Who takes a deployment's place, and how."""

    deployment: str
    mode: SupersedeMode
    words: str


class Withdrawal(Frozen):
    """An entry of a lane that will not start, and why."""

    tenant: TenantId
    deployment: str
    cause: Cause


class Prepared(Frozen):
    """A plan that is stored, and the fence under which its operations run.

    `ailing` names nodes whose module was ill already when the plan was made.
    """

    plan: Plan
    fence: int
    ailing: tuple[NodeName, ...] = ()


class DeploymentResult(Frozen):
    """How a deployment ended.

    `unverified` names the nodes that could not be proved to be back, `quarantined` those that it lost on its
    way and completed without.
    """

    phase: Phase
    cause: Cause | None = None
    unverified: tuple[NodeName, ...] = ()
    quarantined: tuple[NodeName, ...] = ()


class Progress(Frozen):
    """One change of a deployment, written with its event in one transaction.

    Attributes:
        key: unique within the deployment, so that a repeat writes nothing twice.
        phase: the phase from now on; None leaves it (and all that describes it) as it is.
        step: index into the plan's steps; None keeps the present one.
        waiting_for: what it waits for, in words; "" when it does not wait.
        details: further facts for the event, JSON values.
    """

    tenant: TenantId
    deployment: str
    key: str
    event: EventKind
    message: str
    phase: Phase | None = None
    step: int | None = None
    wave: int | None = None
    waiting_for: str = ""
    actor: str | None = None
    cause: Cause | None = None
    unverified: tuple[NodeName, ...] = ()
    details: dict[str, object] = Field(default_factory=dict)


class NodesOrder(Frozen):
    """One operation on the nodes of one batch. `deadline` is seconds per node, retries included.

    `attempt` tells repeats of the same operation within a deployment apart (rounds of a rollback);
    `beside` says that another release may run beside at this point of the plan; `min_healthy` is, by zone,
    how many nodes must be up besides those that are being changed; `hooks` are called around each node.
    """

    tenant: TenantId
    environment: EnvironmentName
    deployment: str
    wave: int
    nodes: tuple[NodeName, ...]
    release: ReleaseRef
    fence: int
    deadline: float
    attempt: int = 1
    min_healthy: dict[str, int] = Field(default_factory=dict)
    beside: bool = False
    hooks: tuple[HookRule, ...] = ()


class RevertOrder(Frozen):
    """Bring nodes back to the release that was recorded for them before deployment `of`."""

    tenant: TenantId
    environment: EnvironmentName
    deployment: str
    of: str
    module: ModuleName
    nodes: tuple[NodeName, ...]
    fence: int
    deadline: float
    attempt: int


class NodesOutcome(Frozen):
    """What became of a batch: how many nodes did as ordered, and those that did not, by name.

    `held` were not started, because of `freeze`.
    """

    done: int
    failures: tuple[NodeFailure, ...] = ()
    held: tuple[NodeName, ...] = ()
    freeze: Freeze | None = None


class QuarantineOrder(Frozen):
    """Nodes to be left alone from now on, each with its cause; `key` names the order in the deployment."""

    tenant: TenantId
    deployment: str
    key: str
    nodes: tuple[NodeFailure, ...]


class TokenCheck(Frozen):
    """A token to be checked against the API's public key."""

    token: str


class CommandTokenVerdict(Frozen):
    """What a command token says, or why it says nothing."""

    claims: CommandClaims | None = None
    refusal: str | None = None


class AnalysisInput(Frozen):
    """The judge's run over one wave; in the background, condition checks alone until told to conclude.

    Attributes:
        against: baseline: nodes that are not changed yet, or as the rule says; health: absolute limits;
            recorded: the same nodes' last window under the release before; before: the same nodes, `shift`
            seconds earlier.
        began: when the rollout began to change nodes, seconds since the epoch, where a guard must know.
        shift: of the clock, in seconds; None is the rule's.
        renewed: how many seconds before the analysis began the first node of a fresh baseline was restarted.
    """

    tenant: TenantId
    environment: EnvironmentName
    deployment: str
    analysis: str
    wave: int
    module: ModuleName
    canary: tuple[NodeName, ...]
    baseline: tuple[NodeName, ...]
    canary_version: str
    rule: AnalysisRule
    subject: str
    against: str = "baseline"
    background: bool = False
    renewed: float | None = None
    began: float | None = None
    shift: float | None = None

    @property
    def checks_alone(self) -> bool:
        """Whether condition checks decide, because no metric is compared between nodes."""
        compared = self.rule.metrics or self.rule.sources or self.against == "health"
        return bool(self.rule.conditions) and not compared

    @property
    def clock_shift(self) -> float:
        """How many seconds earlier the same nodes are the baseline; 0 where other nodes are."""
        if self.shift is not None:
            return self.shift
        return self.rule.clock_shift if self.rule.against == "before" else 0.0


class Look(Frozen):
    """One look of the judge: everything since the window's start on each node, `seconds` long by now."""

    analysis: AnalysisInput
    number: int
    seconds: float


class RollbackInput(Frozen):
    """A rollback of what deployment `of` changed; `deployment` is the record that it reports to.

    They differ when a completed deployment is taken back later, by a deployment of its own.
    """

    tenant: TenantId
    environment: EnvironmentName
    deployment: str
    of: str
    cause: Cause
    subject: str
    traceparent: str | None = None


class RollbackTargets(Frozen):
    """The nodes that deployment `of` touched, and the terms of taking them back."""

    module: ModuleName
    version: str
    nodes: tuple[NodeName, ...]
    fence: int
    deadline: float
    rule: RollbackRule = RollbackRule()
    hooks: tuple[HookRule, ...] = ()


class RollbackResult(Frozen):
    """Verified on every node, or the nodes where it is not."""

    unverified: tuple[NodeName, ...] = ()
    touched: int = 0


class AnalysisResult(Frozen):
    """The judge's last word."""

    verdict: Verdict
    seconds: float


class StatusView(Frozen):
    """What the status query of a deployment answers."""

    phase: Phase
    message: str
    waiting_for: str
    step: int
    wave: int | None
    plan: str | None
    verdict: Verdict | None
    cause: Cause | None
