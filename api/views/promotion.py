"""A promotion as the API shows it, environment by environment."""

from datetime import datetime, timedelta
from typing import Self

from pydantic import BaseModel

from api.links import deployment_path, promotion_links
from domain.deployment import Cause, Phase
from domain.promotion import OnFailure, PromotionPhase, StageState, promotion_exit_code
from runtime.settings import ApiSettings
from store.stages import StoredPromotion, StoredStage


class StageView(BaseModel):
    """One environment: its terms, its deployment, and the deployment that takes that one back.

    `soaks_until` is known once the deployment has completed, where the promotion goes on from here;
    `note` says why an environment was left alone when the others were taken back.
    """

    position: int
    environment: str
    state: StageState
    soak: float
    soaks_until: datetime | None
    on_failure: OnFailure
    deployment: str | None
    deployment_phase: Phase | None
    message: str
    waiting_for: str
    rollback: str | None
    rollback_phase: Phase | None
    note: str
    links: dict[str, str]

    @classmethod
    def of(cls, promotion: StoredPromotion, stage: StoredStage) -> Self:
        """From the store's row."""
        last = stage.position == len(promotion.stages)
        completed = stage.deployment_phase is Phase.COMPLETED and stage.finished_at is not None
        until = stage.finished_at + timedelta(seconds=stage.soak) if stage.finished_at else None
        links = {"deployment": stage.deployment, "rollback": stage.rollback}
        return cls.model_validate(
            {
                **stage.model_dump(),
                "state": promotion.state(stage),
                "soaks_until": until if completed and stage.soak and not last else None,
                "links": {name: deployment_path(each) for name, each in links.items() if each},
            }
        )


class PromotionView(BaseModel):
    """A promotion in full. `position` is the stage that it has come to, from 1."""

    id: str
    tenant: str
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
    stages: list[StageView]
    exit_code: int
    links: dict[str, str]

    @classmethod
    def of(cls, stored: StoredPromotion, *, tenant: str, settings: ApiSettings) -> Self:
        """From the store's rows."""
        stages = [StageView.of(stored, stage) for stage in stored.stages]
        states = [stage.state for stage in stages]
        return cls.model_validate(
            {
                **stored.model_dump(exclude={"stages"}),
                "tenant": tenant,
                "stages": stages,
                "exit_code": promotion_exit_code(stored.phase, stored.cause, states),
                "links": promotion_links(settings, stored.id),
            }
        )
