"""A promotion: one release through several environments in order, each by a deployment of its own."""

from collections.abc import Sequence
from enum import StrEnum
from typing import Annotated, Final

from pydantic import Field

from domain.base import Frozen, Strict
from domain.deployment import Cause, Phase
from domain.errors import IllegalTransition
from domain.names import EnvironmentName

Soak = Annotated[float, Field(ge=0, le=90 * 86400)]


class OnFailure(StrEnum):
    """What becomes of the environments before the one that did not take the release.

    keep: they stay on it. rollback: those that this promotion changed are taken back, the last one first.
    """

    KEEP = "keep"
    ROLLBACK = "rollback"


class PromotionRule(Strict):
    """An environment's terms for promotions.

    Attributes:
        soak: seconds that the release runs here before it goes on to the next environment.
        on_failure: what becomes of the environments before, when this one does not take the release.
    """

    soak: Soak = 0
    on_failure: OnFailure = OnFailure.KEEP


class PromotionStage(Frozen):
    """One environment of a promotion, with the terms that hold for it."""

    environment: EnvironmentName
    soak: Soak = 0
    on_failure: OnFailure = OnFailure.KEEP


class PromotionPhase(StrEnum):
    """Where a promotion stands.

    running: a deployment is under way, or waits in its lane. stopped: an environment did not take the
    release, or a person said no; the environments before keep it.
    """

    RUNNING = "running"
    SOAKING = "soaking"
    PAUSED = "paused"
    ROLLING_BACK = "rolling-back"
    COMPLETED = "completed"
    STOPPED = "stopped"
    ROLLED_BACK_VERIFIED = "rolled-back-verified"
    ROLLED_BACK_UNVERIFIED = "rolled-back-unverified"

    @property
    def terminal(self) -> bool:
        """Whether nothing can follow."""
        return not PROMOTION_TRANSITIONS[self]


_FORWARD: Final = frozenset(
    (
        PromotionPhase.RUNNING,
        PromotionPhase.SOAKING,
        PromotionPhase.PAUSED,
        PromotionPhase.ROLLING_BACK,
        PromotionPhase.COMPLETED,
        PromotionPhase.STOPPED,
    )
)
PROMOTION_TRANSITIONS: Final[dict[PromotionPhase, frozenset[PromotionPhase]]] = {
    PromotionPhase.RUNNING: _FORWARD,
    PromotionPhase.SOAKING: _FORWARD - frozenset((PromotionPhase.COMPLETED,)),
    PromotionPhase.PAUSED: _FORWARD,
    PromotionPhase.ROLLING_BACK: frozenset(
        (PromotionPhase.ROLLED_BACK_VERIFIED, PromotionPhase.ROLLED_BACK_UNVERIFIED)
    ),
    PromotionPhase.COMPLETED: frozenset(),
    PromotionPhase.STOPPED: frozenset(),
    PromotionPhase.ROLLED_BACK_VERIFIED: frozenset(),
    PromotionPhase.ROLLED_BACK_UNVERIFIED: frozenset(),
}


def advance_promotion(present: PromotionPhase, following: PromotionPhase) -> PromotionPhase:
    """The following phase, if it may follow; staying is always allowed.

    Raises:
        IllegalTransition: the table has no such step.
    """
    if following is not present and following not in PROMOTION_TRANSITIONS[present]:
        raise IllegalTransition(f"a promotion cannot go from {present} to {following}", field="phase")
    return following


class StageState(StrEnum):
    """What to call an environment of a promotion."""

    PENDING = "pending"
    QUEUED = "queued"
    DEPLOYING = "deploying"
    SOAKING = "soaking"
    COMPLETED = "completed"
    FAILED = "failed"
    ROLLING_BACK = "rolling-back"
    ROLLED_BACK = "rolled-back"
    UNVERIFIED = "unverified"
    NOT_REACHED = "not-reached"


_ENDS: Final = {
    Phase.QUEUED: StageState.QUEUED,
    Phase.ROLLING_BACK: StageState.ROLLING_BACK,
    Phase.COMPLETED: StageState.COMPLETED,
    Phase.ROLLED_BACK_VERIFIED: StageState.ROLLED_BACK,
    Phase.ROLLED_BACK_UNVERIFIED: StageState.UNVERIFIED,
    Phase.REJECTED: StageState.FAILED,
    Phase.ABORTED: StageState.FAILED,
    Phase.FAILED: StageState.FAILED,
}


def stage_state(
    *, deployment: Phase | None, rollback: Phase | None, promotion: PromotionPhase, present: bool
) -> StageState:
    """What to call an environment.

    Args:
        deployment: the phase of its deployment; None when it has none yet.
        rollback: the phase of the deployment that takes that one back; None when there is none.
        promotion: the promotion's phase.
        present: whether the promotion has come as far as this environment and no further.
    """
    if rollback is not None:
        return _ENDS.get(rollback, StageState.ROLLING_BACK) if rollback.terminal else StageState.ROLLING_BACK
    if deployment is None:
        going = not promotion.terminal and promotion is not PromotionPhase.ROLLING_BACK
        return StageState.PENDING if going else StageState.NOT_REACHED
    if deployment is Phase.COMPLETED and present and promotion is PromotionPhase.SOAKING:
        return StageState.SOAKING
    return _ENDS.get(deployment, StageState.DEPLOYING)


def promotion_exit_code(phase: PromotionPhase, cause: Cause | None, states: Sequence[StageState]) -> int:
    """The exit code of `hotswap promotion start --watch`, with the meaning that `hotswap deploy` gives it.

    0 every environment completed; 3 some environment is not proved to be back; 4 under way; 5 a person
    said no; 2 the release was turned back where it failed; 1 it ended before anything was changed there.
    """
    if phase is PromotionPhase.COMPLETED:
        return 0
    if not phase.terminal:
        return 4
    if StageState.UNVERIFIED in states or phase is PromotionPhase.ROLLED_BACK_UNVERIFIED:
        return 3
    if cause is not None and cause.kind.human:
        return 5
    turned_back = phase is PromotionPhase.ROLLED_BACK_VERIFIED or StageState.ROLLED_BACK in states
    return 2 if turned_back else 1
