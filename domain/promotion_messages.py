"""What ReleaseWorkflow and its activities say to each other. They evolve by adding fields with defaults."""

from pydantic import Field

from domain.base import Frozen
from domain.command import CommandBody
from domain.deployment import Cause, Phase
from domain.events import EventKind
from domain.names import EnvironmentName, ModuleName, TenantId
from domain.promotion import PromotionPhase, PromotionStage


class PromotionInput(Frozen):
    """One promotion; its environments and terms are read from the store when it starts."""

    tenant: TenantId
    promotion: str
    requester: str
    module: ModuleName
    version: str


class PromotionTerms(Frozen):
    """The environments in order; `unsigned_allowed` lets a resume without a token count."""

    stages: tuple[PromotionStage, ...]
    unsigned_allowed: bool = False


class StageOrder(Frozen):
    """Queue the deployment of one environment. `attempt` grows when a queued one was withdrawn by a pause."""

    promotion: PromotionInput
    position: int
    attempt: int = 1


class StageRollback(Frozen):
    """Queue the deployment that takes one environment's deployment back, in whose name and why."""

    promotion: PromotionInput
    position: int
    requester: str
    reason: str


class QueuedRollback(Frozen):
    """The deployment that takes another one back; None with the reason where it was left alone."""

    deployment: str | None = None
    reason: str = ""


class DeploymentKey(Frozen):
    """Names one deployment."""

    tenant: TenantId
    deployment: str


class WithdrawOrder(Frozen):
    """Take a deployment out of its lane's queue, for a cause."""

    tenant: TenantId
    deployment: str
    cause: Cause


class Standing(Frozen):
    """Where a deployment stands."""

    deployment: str
    environment: EnvironmentName
    phase: Phase
    message: str = ""
    waiting_for: str = ""
    cause: Cause | None = None


class PromotionProgress(Frozen):
    """One change of a promotion, written with its event in one transaction, once per key.

    `phase` None leaves it as it is; `position` is the environment's place, None leaves it.
    """

    tenant: TenantId
    promotion: str
    key: str
    event: EventKind
    message: str
    phase: PromotionPhase | None = None
    position: int | None = None
    waiting_for: str = ""
    actor: str | None = None
    cause: Cause | None = None
    details: dict[str, object] = Field(default_factory=dict)


class PromotionCommand(CommandBody):
    """The JSON argument of a signal to a promotion.

    `deployment_token` goes on to the deployment under way, which counts it by its own rules.
    """

    deployment_token: str | None = Field(default=None, max_length=8192)


class PromotionStatus(Frozen):
    """What the status query of a promotion answers."""

    phase: PromotionPhase
    message: str
    environment: EnvironmentName | None
    deployment: str | None
    waiting_for: str
    cause: Cause | None


class PromotionResult(Frozen):
    """How a promotion ended; `unverified` names the environments that are not proved to be back."""

    phase: PromotionPhase
    cause: Cause | None = None
    unverified: tuple[EnvironmentName, ...] = ()
