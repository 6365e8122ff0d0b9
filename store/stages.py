"""What the store answers about promotions."""

from datetime import datetime

from domain.base import Frozen
from domain.deployment import Cause, Phase
from domain.promotion import OnFailure, PromotionPhase, StageState, stage_state


class StoredStage(Frozen):
    """One environment of a promotion, with where its deployment and that one's rollback stand."""

    position: int
    environment: str
    soak: float
    on_failure: OnFailure
    deployment: str | None
    deployment_phase: Phase | None
    message: str
    waiting_for: str
    finished_at: datetime | None
    rollback: str | None
    rollback_phase: Phase | None
    note: str


class StoredPromotion(Frozen):
    """A promotion as it stands. `position` is the stage that it has come to, from 1."""

    id: str
    module: str
    version: str
    requester: str
    description: str
    phase: PromotionPhase
    phase_since: datetime
    position: int
    waiting_for: str
    message: str
    cause: Cause | None
    created_at: datetime
    finished_at: datetime | None
    stages: tuple[StoredStage, ...]

    def state(self, stage: StoredStage) -> StageState:
        """What to call one of its environments."""
        return stage_state(
            deployment=stage.deployment_phase,
            rollback=stage.rollback_phase,
            promotion=self.phase,
            present=stage.position == self.position,
        )


class WaitingPromotion(Frozen):
    """A promotion that has not ended; `due` when it has something to do."""

    tenant: str
    promotion: str
    due: bool
