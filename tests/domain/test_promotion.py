"""Promotions as tables: which phase may follow which, what an environment is called, how it all ends."""

import pytest

from domain.deployment import Cause, CauseKind, Phase
from domain.errors import IllegalTransition
from domain.promotion import (
    PROMOTION_TRANSITIONS,
    PromotionPhase,
    StageState,
    advance_promotion,
    promotion_exit_code,
    stage_state,
)

RUNNING, SOAKING = PromotionPhase.RUNNING, PromotionPhase.SOAKING
STOPPED, BACK = PromotionPhase.STOPPED, PromotionPhase.ROLLED_BACK_VERIFIED
BY_NODES = Cause(kind=CauseKind.NODE_FAILURES, message="will not")
BY_A_PERSON = Cause(kind=CauseKind.ABORTED, message="no")


@pytest.mark.finding("1")
@pytest.mark.parametrize("present", PromotionPhase)
@pytest.mark.parametrize("following", PromotionPhase)
def test_every_step_is_in_the_table_or_refused(present, following):
    if following is present or following in PROMOTION_TRANSITIONS[present]:
        assert advance_promotion(present, following) is following
    else:
        with pytest.raises(IllegalTransition):
            advance_promotion(present, following)


@pytest.mark.finding("1")
def test_an_end_is_an_end_and_a_rollback_never_goes_forward_again():
    assert set(PROMOTION_TRANSITIONS) == set(PromotionPhase)
    ends = {phase for phase in PromotionPhase if phase.terminal}
    assert ends == {
        PromotionPhase.COMPLETED,
        STOPPED,
        BACK,
        PromotionPhase.ROLLED_BACK_UNVERIFIED,
    }
    assert PROMOTION_TRANSITIONS[PromotionPhase.ROLLING_BACK] == {
        BACK,
        PromotionPhase.ROLLED_BACK_UNVERIFIED,
    }
    for end in ends:
        assert advance_promotion(end, end) is end
        for following in set(PromotionPhase) - {end}:
            with pytest.raises(IllegalTransition):
                advance_promotion(end, following)


@pytest.mark.parametrize(
    ("deployment", "rollback", "promotion", "present", "state"),
    [
        (None, None, RUNNING, False, StageState.PENDING),
        (None, None, STOPPED, False, StageState.NOT_REACHED),
        (None, None, PromotionPhase.ROLLING_BACK, False, StageState.NOT_REACHED),
        (Phase.QUEUED, None, RUNNING, True, StageState.QUEUED),
        (Phase.BAKING, None, RUNNING, True, StageState.DEPLOYING),
        (Phase.COMPLETED, None, SOAKING, True, StageState.SOAKING),
        (Phase.COMPLETED, None, SOAKING, False, StageState.COMPLETED),
        (Phase.REJECTED, None, STOPPED, True, StageState.FAILED),
        (Phase.ROLLED_BACK_VERIFIED, None, STOPPED, True, StageState.ROLLED_BACK),
        (Phase.ROLLED_BACK_UNVERIFIED, None, STOPPED, True, StageState.UNVERIFIED),
        (Phase.COMPLETED, Phase.QUEUED, PromotionPhase.ROLLING_BACK, False, StageState.ROLLING_BACK),
        (Phase.COMPLETED, Phase.ROLLED_BACK_VERIFIED, BACK, False, StageState.ROLLED_BACK),
    ],
)
def test_what_an_environment_is_called(deployment, rollback, promotion, present, state):
    called = stage_state(deployment=deployment, rollback=rollback, promotion=promotion, present=present)
    assert called is state


@pytest.mark.parametrize(
    ("phase", "cause", "states", "code"),
    [
        (PromotionPhase.COMPLETED, None, [StageState.COMPLETED], 0),
        (RUNNING, None, [StageState.DEPLOYING], 4),
        (PromotionPhase.ROLLING_BACK, BY_NODES, [StageState.ROLLING_BACK], 4),
        (STOPPED, BY_NODES, [StageState.COMPLETED, StageState.ROLLED_BACK], 2),
        (STOPPED, BY_NODES, [StageState.FAILED], 1),
        (STOPPED, BY_A_PERSON, [StageState.ROLLED_BACK], 5),
        (BACK, BY_NODES, [StageState.ROLLED_BACK, StageState.ROLLED_BACK], 2),
        (BACK, BY_A_PERSON, [StageState.ROLLED_BACK], 5),
        (STOPPED, BY_A_PERSON, [StageState.COMPLETED, StageState.UNVERIFIED], 3),
        (PromotionPhase.ROLLED_BACK_UNVERIFIED, BY_NODES, [StageState.COMPLETED], 3),
    ],
)
def test_how_it_ended_as_an_exit_code(phase, cause, states, code):
    assert promotion_exit_code(phase, cause, states) == code
