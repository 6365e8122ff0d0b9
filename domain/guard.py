"""The guard window: what watches a release after its deployment has completed."""

from typing import Self

from pydantic import Field, model_validator

from domain.base import Frozen, Strict
from domain.health import HealthLimits
from domain.names import EnvironmentName, ModuleName, NodeName, TenantId

MOST_LOOKS = 1000  # each leaves about a dozen events in the guard's history


class GuardRule(Strict):
    """How long the nodes are watched after completion, and what is a breach.

    Attributes:
        seconds: how long; interval: how often; window: how far back each look reaches.
        misses: so many failing looks in a row are a breach; then what was completed is taken back.
        health: what fails a look: probes, errors, latency of the release on its own nodes.
    """

    seconds: float = Field(gt=0, le=30 * 86400)
    interval: float = Field(default=60, gt=0, le=86400)
    window: float = Field(default=120, gt=0, le=86400)
    misses: int = Field(default=2, ge=1, le=20)
    health: HealthLimits = HealthLimits()

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.interval > self.seconds:
            raise ValueError("interval must not be longer than seconds")
        if self.seconds / self.interval > MOST_LOOKS:
            raise ValueError(f"that would be more than {MOST_LOOKS} looks: let the interval be longer")
        return self


class GuardInput(Frozen):
    """One completed deployment to be watched: the nodes that it left on its release."""

    tenant: TenantId
    environment: EnvironmentName
    deployment: str
    module: ModuleName
    version: str
    nodes: tuple[NodeName, ...]
    wave: int
    rule: GuardRule


class GuardResult(Frozen):
    """How a guard ended: nothing happened, or what was queued to take the release back, or why it was not."""

    breached: bool
    reason: str
    rollback: str | None = None


class Breach(Frozen):
    """A breach: the deployment to be taken back, by which guard and why."""

    tenant: TenantId
    environment: EnvironmentName
    deployment: str
    reason: str


class Returned(Frozen):
    """What came of a breach: the deployment that takes it back; None, with the reason, where none may."""

    deployment: str | None = None
    reason: str = ""
