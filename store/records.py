"""What the store answers with: frozen read models, built from rows."""

import base64
from datetime import datetime
from typing import Generic, TypeVar

from domain.amendment import AmendmentState, Changes
from domain.analysis import Verdict
from domain.approval import ApprovalInput
from domain.arrival import SupersedeMode
from domain.base import Frozen
from domain.calendar import CalendarWindow
from domain.deployment import Cause, NodeFailure, Phase
from domain.gate import GateResult, Poll
from domain.judging import JudgedLook
from domain.manifest import Manifest
from domain.names import NodeName
from domain.node import Node
from domain.outcomes import OutcomeKind
from domain.plan import Plan
from domain.policy import EnvironmentPolicy
from domain.release import Kind, ReleaseRef
from domain.roles import Role
from domain.strategy import StoredStrategy
from domain.wire import ModuleReport, NodeReport

Item = TypeVar("Item")


class Page(Frozen, Generic[Item]):
    """Some items, newest first unless said otherwise; `more` when others follow."""

    items: tuple[Item, ...]
    more: bool


class StoredUser(Frozen):
    """A person who may sign in."""

    username: str
    role: Role
    password_hash: str
    created_at: datetime
    must_change: bool = False
    disabled: bool = False
    locked_until: datetime | None = None


class EnvironmentTerms(Frozen):
    """What a deployment's line in a list needs of its environment: the default strategy, and who froze it."""

    strategy: str
    frozen_by: str | None


class StoredEnvironment(Frozen):
    """An environment; `frozen` says why its lane stands still."""

    name: str
    policy: EnvironmentPolicy
    frozen: str | None
    frozen_by: str | None

    @property
    def terms(self) -> EnvironmentTerms:
        """What its deployments' lines need."""
        return EnvironmentTerms(strategy=self.policy.strategy.kind, frozen_by=self.frozen_by)


class StoredFreeze(Frozen):
    """A freeze: of the calendar, or (without a window) one that a person began at `created_at`."""

    id: str
    environment: str
    reason: str
    calendar: CalendarWindow | None
    until: datetime | None
    created_by: str
    created_at: datetime
    removed_by: str | None
    removed_at: datetime | None
    removal_reason: str | None


class Quarantine(Frozen):
    """Why rollouts leave a node alone: the deployment that lost it, or the person who said so."""

    code: str
    message: str
    deployment: str | None = None
    actor: str | None = None


class StoredNode(Frozen):
    """A node with its last report; `age` is the seconds since then, by the database's clock.

    `due_since` is set while the node may lack what is current.
    """

    node: Node
    token_id: str | None
    registered_at: datetime
    last_seen: datetime | None
    age: float | None
    report: NodeReport | None
    quarantine: Quarantine | None = None
    due_since: datetime | None = None


class StoredRelease(Frozen):
    """A release as it was pushed. `signature` is the detached CMS signature (DER); `size` is in bytes."""

    ref: ReleaseRef
    kind: Kind
    manifest: Manifest
    signature: bytes
    signer: str
    size: int
    pushed_by: str
    pushed_at: datetime

    @property
    def signature_base64(self) -> str:
        """The signature as the wire carries it."""
        return base64.b64encode(self.signature).decode("ascii")


class PlanningRequest(Frozen):
    """What planning needs; without a strategy the environment's policy names it.

    `only_nodes` limits the plan to these nodes; `catch_up` brings them to what is
    current without asking anybody.
    """

    release: ReleaseRef
    strategy: StoredStrategy | None
    environment: str
    requester: str
    hotfix: bool = False
    only_nodes: tuple[NodeName, ...] | None = None
    catch_up: bool = False


class NodeOutcome(Frozen):
    """What became of one node in one operation; `observed` is what it showed afterwards."""

    node: NodeName
    outcome: OutcomeKind
    fault: NodeFailure | None = None
    observed: ModuleReport | None = None


class DeploymentNode(Frozen):
    """One node of a deployment."""

    node: str
    wave: int
    prior: ReleaseRef | None
    touched_at: datetime | None
    outcome: OutcomeKind | None
    fault: NodeFailure | None
    verified_at: datetime | None
    observed: ModuleReport | None


class DeploymentSummary(Frozen):
    """A deployment as it stands, without its plan.

    `strategy` is what was asked for, None leaves it to the policy; `replaces` is the version that most
    nodes ran before, known once there is a plan, and `planned` the plan's strategy where none was asked for.
    """

    id: str
    environment: str
    release: ReleaseRef
    rolls_back: str | None
    strategy: StoredStrategy | None
    planned: str | None = None
    hotfix: str | None
    override: str | None
    supersedes: str | None
    supersede_mode: SupersedeMode | None
    description: str
    requester: str
    replaces: str | None
    phase: Phase
    phase_since: datetime
    step: int | None
    wave: int | None
    waiting_for: str
    message: str
    cause: Cause | None
    unverified: tuple[str, ...]
    plan_digest: str | None
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None


class StoredDeployment(DeploymentSummary):
    """A deployment with its plan, once there is one; `signer` is its release's."""

    plan: Plan | None
    signer: str


class StoredAmendment(Frozen):
    """An amendment of a deployment, with the plan that it is of and the one that it makes."""

    number: int
    changes: Changes
    actor: str
    reason: str
    before: Plan
    plan: Plan
    widens: tuple[str, ...]
    gate: str | None
    state: AmendmentState
    message: str
    created_at: datetime
    settled_at: datetime | None


class OpenLane(Frozen):
    """An environment where a deployment waits or runs; `queued` names those that wait."""

    tenant: str
    environment: str
    queued: tuple[str, ...]


class StoredPoll(Frozen):
    """A gate with its votes; closed without a result when the deployment ended before it did."""

    id: str
    request: ApprovalInput
    poll: Poll
    expires_at: datetime
    result: GateResult | None
    opened_at: datetime
    closed_at: datetime | None


class StoredLook(Frozen):
    """One look of the judge."""

    analysis: str
    wave: int
    look: int
    verdict: Verdict
    at: datetime


class StoredAnalysis(Frozen):
    """An analysis by its last look. `id` is that look's place among all."""

    id: int
    analysis: str
    deployment: str
    wave: int
    look: int
    verdict: Verdict
    at: datetime


class KeptLook(Frozen):
    """One look of an analysis with its verdict and what it was judged on, where that was kept."""

    deployment: str
    wave: int
    number: int
    at: datetime
    verdict: Verdict
    judged: JudgedLook | None = None


class StoredEvent(Frozen):
    """One event, of a deployment, a promotion or an approval. `id` is the cursor to go on from."""

    id: int
    deployment: str | None
    approval: str | None = None
    promotion: str | None = None
    kind: str
    at: datetime
    payload: dict[str, object]
