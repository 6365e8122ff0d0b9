"""A deployment as the API shows it: all that a live view needs, and nothing it has to ask for."""

from collections.abc import Sequence
from datetime import datetime
from enum import StrEnum
from typing import Self

from pydantic import BaseModel

from api.links import deployment_links
from api.views.gate import GateView
from domain.analysis import Verdict
from domain.arrival import SupersedeMode
from domain.deployment import Cause, NodeFailure, Phase, exit_code
from domain.freeze import Freeze
from domain.hooks import HookRun
from domain.measuring import Outage
from domain.outcomes import NodeState, OutcomeKind, node_state
from domain.plan import Gate, Plan
from domain.strategy import StoredStrategy, Undo
from runtime.settings import ApiSettings
from store.records import (
    DeploymentNode,
    DeploymentSummary,
    EnvironmentTerms,
    StoredDeployment,
    StoredEnvironment,
    StoredLook,
    StoredPoll,
)

ROLLBACK = "rollback"  # the strategy of a record that takes an earlier deployment back


class StepState(StrEnum):
    """Where a step of the plan stands; stopped: the rollout turned back or ended there."""

    DONE = "done"
    CURRENT = "current"
    STOPPED = "stopped"
    TODO = "todo"


class StepView(BaseModel):
    """One step of the plan."""

    index: int
    kind: str
    wave: int
    gate: str | None
    state: StepState


class WaveView(BaseModel):
    """Nodes that change together."""

    number: int
    nodes: tuple[str, ...]


class NodeView(BaseModel):
    """One node of the deployment.

    `version` is what it runs as far as was seen, `prior` what it ran before (null: nothing); `at` is when
    it was last touched or verified.
    """

    name: str
    wave: int
    state: NodeState
    version: str | None
    prior: str | None
    outcome: OutcomeKind | None
    fault: NodeFailure | None
    message: str
    touched_at: datetime | None
    verified_at: datetime | None
    at: datetime | None

    @classmethod
    def of(cls, node: DeploymentNode, phase: Phase, unverified: Sequence[str]) -> Self:
        """From the store's row."""
        seen = node.observed.current if node.observed is not None else node.prior
        return cls(
            name=node.node,
            wave=node.wave,
            state=node_state(
                node.outcome,
                touched=node.touched_at is not None,
                unverified=node.node in unverified,
                phase=phase,
            ),
            version=seen.version if seen else None,
            prior=node.prior.version if node.prior else None,
            outcome=node.outcome,
            fault=node.fault,
            message=node.fault.message if node.fault else "",
            touched_at=node.touched_at,
            verified_at=node.verified_at,
            at=node.verified_at or node.touched_at,
        )


class DeploymentItem(BaseModel):
    """A deployment in a list."""

    id: str
    tenant: str
    environment: str
    module: str
    version: str
    replaces: str | None
    rolls_back: str | None
    strategy: str
    hotfix: str | None
    override: str | None
    supersedes: str | None
    supersede_mode: SupersedeMode | None
    description: str
    requester: str
    phase: Phase
    phase_since: datetime
    wave: int | None
    waiting_for: str
    message: str
    cause: Cause | None
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    exit_code: int
    links: dict[str, str]

    @classmethod
    def of(
        cls,
        stored: DeploymentSummary,
        *,
        tenant: str,
        terms: EnvironmentTerms,
        settings: ApiSettings,
    ) -> Self:
        """From the store's row, and the terms of its environment."""
        return cls.model_validate(_item(stored, tenant, terms, settings))


class DeploymentDetail(DeploymentItem):
    """A deployment in full.

    `frozen` says why its lane stands still, `freeze` why it may start no node now, `outages` which checks are
    held because their provider does not answer.
    """

    digest: str
    tree: str
    signer: str
    strategy_asked: StoredStrategy | None
    frozen: str | None
    freeze: Freeze | None
    step: int
    plan: Plan | None
    plan_digest: str | None
    waves: list[WaveView]
    steps: list[StepView]
    gates: list[GateView]
    hooks: list[HookRun]
    outages: list[Outage]
    verdict: Verdict | None
    verdict_wave: int | None
    nodes: list[NodeView]
    unverified: tuple[str, ...]


class DeploymentParts(BaseModel):
    """What a deployment's detail is put together from; one that was just queued has no more than it needs."""

    deployment: StoredDeployment
    environment: StoredEnvironment
    freeze: Freeze | None
    nodes: list[DeploymentNode] = []
    polls: list[StoredPoll] = []
    hooks: list[HookRun] = []
    outages: list[Outage] = []
    look: StoredLook | None = None


def detail(parts: DeploymentParts, *, tenant: str, settings: ApiSettings) -> DeploymentDetail:
    """Put the detail together."""
    stored, plan = parts.deployment, parts.deployment.plan
    item = _item(stored, tenant, parts.environment.terms, settings)
    concerned = not stored.phase.terminal or parts.environment.frozen_by == stored.id
    return DeploymentDetail.model_validate(
        {
            **item,
            "digest": stored.release.digest,
            "tree": stored.release.tree,
            "signer": stored.signer,
            "strategy_asked": stored.strategy,
            "frozen": parts.environment.frozen if concerned else None,
            "freeze": parts.freeze if _starts_nodes(stored) else None,
            "step": stored.step or 0,
            "plan": plan,
            "plan_digest": stored.plan_digest,
            "waves": [WaveView(number=wave.number, nodes=wave.nodes) for wave in plan.waves] if plan else [],
            "steps": _steps(plan, stored) if plan else [],
            "gates": [GateView.of(poll, settings) for poll in parts.polls],
            "hooks": parts.hooks,
            "outages": parts.outages,
            "verdict": parts.look.verdict if parts.look else None,
            "verdict_wave": parts.look.wave if parts.look else None,
            "nodes": [NodeView.of(node, stored.phase, stored.unverified) for node in parts.nodes],
            "unverified": stored.unverified,
        }
    )


def _starts_nodes(stored: StoredDeployment) -> bool:
    """Whether a freeze holds it: not what is over, goes back, or is a declared hotfix."""
    back = stored.rolls_back is not None or isinstance(stored.strategy, Undo)
    over = stored.phase.terminal or stored.phase is Phase.ROLLING_BACK
    return not (back or over or stored.hotfix is not None)


def _item(
    stored: DeploymentSummary, tenant: str, terms: EnvironmentTerms, settings: ApiSettings
) -> dict[str, object]:
    strategy = stored.strategy.kind if stored.strategy else stored.planned or terms.strategy
    return {
        **stored.model_dump(include=set(DeploymentItem.model_fields) & set(DeploymentSummary.model_fields)),
        "tenant": tenant,
        "module": stored.release.module,
        "version": stored.release.version,
        "strategy": ROLLBACK if stored.rolls_back else strategy,
        "exit_code": exit_code(stored.phase, stored.cause, frozen=terms.frozen_by == stored.id),
        "links": deployment_links(settings, stored.id),
    }


def _steps(plan: Plan, stored: StoredDeployment) -> list[StepView]:
    present = stored.step or 0
    turned = stored.phase is Phase.ROLLING_BACK or (
        stored.phase.terminal and stored.phase is not Phase.COMPLETED
    )

    def state(index: int) -> StepState:
        if index < present or stored.phase is Phase.COMPLETED:
            return StepState.DONE
        if index > present or stored.phase in (Phase.QUEUED, Phase.PLANNING):
            return StepState.TODO
        return StepState.STOPPED if turned else StepState.CURRENT

    return [
        StepView(
            index=index,
            kind=step.kind,
            wave=step.wave,
            gate=step.rule.name if isinstance(step, Gate) else None,
            state=state(index),
        )
        for index, step in enumerate(plan.steps)
    ]
