"""A world with several environments, for tests of promotions; its lanes and deployments are the real ones."""

from collections import defaultdict
from dataclasses import dataclass, field

from temporalio import activity
from temporalio.client import Client
from temporalio.exceptions import ApplicationError
from temporalio.service import RPCError, RPCStatusCode

from domain.deployment import Phase
from domain.errors import RequirementUnmet
from domain.events import EventKind
from domain.messages import (
    LaneLook,
    LaneView,
    NodesOrder,
    NodesOutcome,
    Progress,
    QueuedDeployment,
    RevertOrder,
    RollbackInput,
    RollbackTargets,
)
from domain.names import promotion_workflow_id
from domain.promotion import PromotionPhase, PromotionStage
from domain.promotion_messages import (
    DeploymentKey,
    PromotionInput,
    PromotionProgress,
    PromotionTerms,
    QueuedRollback,
    StageOrder,
    StageRollback,
    Standing,
    WithdrawOrder,
)
from tests.workflows.world import World

OLD = "1.0.0"


@dataclass
class PromotionWorld(World):
    """Lanes per environment, and what a promotion has written. `client` tells promotions of ends."""

    client: Client | None = None
    stages: tuple[PromotionStage, ...] = ()
    unsigned: bool = False
    told: list[PromotionProgress] = field(default_factory=list)
    where: dict[str, str] = field(default_factory=dict)
    belongs: dict[str, str] = field(default_factory=dict)
    runs: dict[str, dict[str, str]] = field(default_factory=lambda: defaultdict(dict))
    changed: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))
    unmet: str | None = None
    moved_on: frozenset[str] = frozenset()
    closed_lanes: frozenset[str] = frozenset()

    def phase_of(self, deployment: str) -> Phase:
        """The last phase that was recorded of a deployment."""
        phases = [each.phase for each in self.progress if each.deployment == deployment and each.phase]
        return phases[-1] if phases else Phase.QUEUED

    @property
    def path(self) -> list[PromotionPhase]:
        """The promotion's phases in order, without repeats."""
        phases = [entry.phase for entry in self.told if entry.phase]
        return [phase for index, phase in enumerate(phases) if index == 0 or phases[index - 1] != phase]

    def versions(self, environment: str) -> set[str]:
        """What the nodes of an environment run."""
        return {self.runs[environment].get(node.name, OLD) for node in self.fleet}

    def _queue(self, promotion: PromotionInput, position: int, name: str, back: str | None = None) -> str:
        environment = self.stages[position - 1].environment
        if name not in self.where:
            self.where[name], self.belongs[name] = environment, promotion.promotion
            self.queue.append(
                QueuedDeployment(
                    deployment=name,
                    requester=promotion.requester,
                    module=promotion.module,
                    version=promotion.version,
                    strategy=self.strategy.kind,
                    rolls_back=back,
                )
            )
        return name

    @activity.defn(name="record")
    async def record(self, progress: Progress) -> None:
        await super().record(progress)
        promotion = self.belongs.get(progress.deployment)
        if progress.phase is None or not progress.phase.terminal or promotion is None or self.client is None:
            return
        try:
            await self.client.get_workflow_handle(promotion_workflow_id(promotion)).signal("look", {})
        except RPCError as error:
            if error.status is not RPCStatusCode.NOT_FOUND:
                raise

    @activity.defn(name="load_lane")
    async def load_lane(self, look: LaneLook) -> LaneView:
        view = await super().load_lane(look)
        mine = look.environment
        running = next(
            (
                each
                for each in self.queue
                if self.where.get(each.deployment) == mine
                and self.phase_of(each.deployment) is not Phase.QUEUED
                and not self.phase_of(each.deployment).terminal
            ),
            None,
        )
        queued = tuple(each for each in view.queued if self.where.get(each.deployment) == mine)
        return LaneView(running=running, queued=() if mine in self.closed_lanes else queued)

    async def _each(self, action: str, order: NodesOrder | RevertOrder, version: str | None) -> NodesOutcome:
        outcome = await super()._each(action, order, version)
        failed = [failure.node for failure in outcome.failures]
        for node in order.nodes:
            if action == "activate":
                self.changed[order.deployment].append(node)
            if version is not None and node not in failed:
                self.runs[order.environment][node] = version
        return outcome

    @activity.defn(name="rollback_targets")
    async def rollback_targets(self, request: RollbackInput) -> RollbackTargets:
        targets = await super().rollback_targets(request)
        return targets.model_copy(
            update={"nodes": tuple(dict.fromkeys(self.changed[request.of] or self.touched))}
        )

    @activity.defn(name="promotion_terms")
    async def promotion_terms(self, request: PromotionInput) -> PromotionTerms:
        return PromotionTerms(stages=self.stages, unsigned_allowed=self.unsigned)

    @activity.defn(name="record_promotion")
    async def record_promotion(self, progress: PromotionProgress) -> None:
        if (progress.promotion, progress.key) not in [(each.promotion, each.key) for each in self.told]:
            self.told.append(progress)

    @activity.defn(name="queue_stage")
    async def queue_stage(self, order: StageOrder) -> str:
        environment = self.stages[order.position - 1].environment
        if environment == self.unmet:
            raise ApplicationError("staging first", type=RequirementUnmet.code, non_retryable=True)
        return self._queue(
            order.promotion,
            order.position,
            f"{order.promotion.promotion}-{order.position}-{order.attempt}",
        )

    @activity.defn(name="queue_rollback")
    async def queue_rollback(self, order: StageRollback) -> QueuedRollback:
        if self.stages[order.position - 1].environment in self.moved_on:
            return QueuedRollback(reason="left alone: deployment later of greeter came later")
        own = f"{order.promotion.promotion}-{order.position}"
        return QueuedRollback(
            deployment=self._queue(order.promotion, order.position, f"{own}-back", f"{own}-1")
        )

    @activity.defn(name="standing")
    async def standing(self, key: DeploymentKey) -> Standing:
        last = next((each for each in reversed(self.progress) if each.deployment == key.deployment), None)
        cause = next(
            (e.cause for e in reversed(self.progress) if e.deployment == key.deployment and e.cause), None
        )
        return Standing(
            deployment=key.deployment,
            environment=self.where[key.deployment],
            phase=self.phase_of(key.deployment),
            message=last.message if last else "",
            cause=cause,
        )

    @activity.defn(name="withdraw_stage")
    async def withdraw_stage(self, order: WithdrawOrder) -> bool:
        if self.phase_of(order.deployment) is not Phase.QUEUED:
            return False
        self.progress.append(
            Progress(
                tenant=order.tenant,
                deployment=order.deployment,
                key="withdrawn",
                event=EventKind.FINISHED,
                message=order.cause.message,
                phase=Phase.ABORTED,
                cause=order.cause,
            )
        )
        return True

    @property
    def activities(self) -> list:
        return [
            *super().activities,
            self.promotion_terms,
            self.record_promotion,
            self.queue_stage,
            self.queue_rollback,
            self.standing,
            self.withdraw_stage,
        ]
