"""What a promotion may order, by name, input and result; the hands are in activities.promotions."""

from abc import ABC, abstractmethod

from temporalio import activity

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


class Promotions(ABC):
    """Short transactions on our own database; each may be repeated."""

    @activity.defn
    @abstractmethod
    async def promotion_terms(self, request: PromotionInput) -> PromotionTerms:
        """The environments of the promotion in order, with their terms."""

    @activity.defn
    @abstractmethod
    async def record_promotion(self, progress: PromotionProgress) -> None:
        """Write a change and its event together, once per key.

        Raises:
            IllegalTransition: final; nothing was written.
        """

    @activity.defn
    @abstractmethod
    async def queue_stage(self, order: StageOrder) -> str:
        """Queue an environment's deployment in its lane; the deployment's id, the same in every repeat.

        Raises:
            RequirementUnmet: final; the environment wants another one to have proved the release.
        """

    @activity.defn
    @abstractmethod
    async def queue_rollback(self, order: StageRollback) -> QueuedRollback:
        """Queue the deployment that takes an environment's one back, unless something came later there."""

    @activity.defn
    @abstractmethod
    async def standing(self, key: DeploymentKey) -> Standing:
        """Where a deployment stands now."""

    @activity.defn
    @abstractmethod
    async def withdraw_stage(self, order: WithdrawOrder) -> bool:
        """Take a deployment out of its lane's queue; False when the lane has begun with it."""
