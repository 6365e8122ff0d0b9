"""Phases follow the table and nothing else; exit codes say what happened."""

import itertools

import pytest

from domain.deployment import TERMINAL_PHASES, TRANSITIONS, Cause, CauseKind, Phase, advance, exit_code
from domain.errors import IllegalTransition


@pytest.mark.parametrize(("present", "following"), list(itertools.product(Phase, Phase)))
def test_every_pair_of_phases_is_either_in_the_table_or_refused(present, following):
    if following is present or following in TRANSITIONS[present]:
        assert advance(present, following) is following
    else:
        with pytest.raises(IllegalTransition):
            advance(present, following)


def test_a_rollback_ends_verified_or_unverified_and_nowhere_else():
    assert TRANSITIONS[Phase.ROLLING_BACK] == {Phase.ROLLED_BACK_VERIFIED, Phase.ROLLED_BACK_UNVERIFIED}


def test_every_phase_is_reachable_and_each_reaches_an_end():
    reachable = {Phase.QUEUED}.union(*TRANSITIONS.values())
    assert reachable == set(Phase)
    for phase in Phase:
        seen, open_ = set(), {phase}
        while open_:
            seen |= open_
            open_ = set().union(*(TRANSITIONS[each] for each in open_)) - seen
        assert seen.intersection(TERMINAL_PHASES)


@pytest.mark.parametrize(
    ("phase", "kind", "frozen", "code"),
    [
        (Phase.COMPLETED, None, False, 0),
        (Phase.FAILED, CauseKind.PLAN, False, 1),
        (Phase.ROLLED_BACK_VERIFIED, CauseKind.ANALYSIS, False, 2),
        (Phase.ROLLED_BACK_VERIFIED, CauseKind.OPERATOR, False, 2),
        (Phase.ROLLED_BACK_UNVERIFIED, CauseKind.ANALYSIS, False, 3),
        (Phase.QUEUED, None, True, 3),
        (Phase.WAITING_APPROVAL, None, False, 4),
        (Phase.REJECTED, CauseKind.REJECTED, False, 5),
        (Phase.ABORTED, CauseKind.ABORTED, False, 5),
        (Phase.ROLLED_BACK_VERIFIED, CauseKind.ABORTED, False, 5),
        (Phase.ROLLED_BACK_VERIFIED, CauseKind.REJECTED, False, 5),
    ],
)
def test_exit_codes(phase, kind, frozen, code):
    cause = Cause(kind=kind, message="why") if kind else None
    assert exit_code(phase, cause, frozen=frozen) == code
