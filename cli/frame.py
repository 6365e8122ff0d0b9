"""A deployment as the live view shows it: read tolerantly from the API's answer."""

from datetime import datetime
from typing import Any

from domain.analysis import Verdict
from domain.base import Frozen
from domain.deployment import Cause, Phase
from domain.freeze import Freeze
from domain.hooks import HookRun
from domain.measuring import Outage
from domain.outcomes import NodeState
from domain.plan import Plan


class FrameNode(Frozen):
    """One node of the plan: the wave it is in, what became of it, the version that it has now."""

    name: str
    wave: int
    state: NodeState
    version: str | None = None
    message: str = ""
    at: datetime | None = None


class FrameStep(Frozen):
    """One step of the plan: done, current, stopped (the rollout turned back or ended there) or todo."""

    index: int
    kind: str
    wave: int
    gate: str | None
    state: str


class FrameGate(Frozen):
    """One gate: how many said yes of how many needed, who is missing, and until when."""

    id: str
    name: str
    approvals: int
    required: int
    expires_at: datetime
    on_expiry: str
    result: str | None = None
    waits_for: str = ""
    escalated: bool = False
    overdue: bool = False
    reminders: int = 0
    delegations: tuple[dict[str, Any], ...] = ()
    voided: tuple[dict[str, Any], ...] = ()


class Frame(Frozen):
    """Everything the view needs, and nothing it has to ask for."""

    id: str
    tenant: str
    environment: str
    module: str
    version: str
    replaces: str | None = None
    rolls_back: str | None = None
    hotfix: str | None = None
    supersedes: str | None = None
    strategy: str
    requester: str
    created_at: datetime
    phase: Phase
    phase_since: datetime | None = None
    finished_at: datetime | None = None
    message: str = ""
    waiting_for: str = ""
    cause: Cause | None = None
    frozen: str | None = None
    freeze: Freeze | None = None
    step: int = 0
    wave: int | None = None
    plan: Plan | None = None
    plan_digest: str | None = None
    steps: tuple[FrameStep, ...] = ()
    digest: str | None = None
    signer: str | None = None
    verdict: Verdict | None = None
    gates: tuple[FrameGate, ...] = ()
    hooks: tuple[HookRun, ...] = ()
    outages: tuple[Outage, ...] = ()
    nodes: tuple[FrameNode, ...] = ()
    exit_code: int

    @classmethod
    def of(cls, answer: dict[str, Any]) -> "Frame":
        """The frame in an answer to GET /deployments/{id}."""
        return cls.model_validate(answer)

    @property
    def open_gate(self) -> FrameGate | None:
        """The gate that waits now."""
        return next((gate for gate in self.gates if gate.result is None), None)
