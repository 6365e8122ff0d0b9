"""Whose fault a failed node is, and when they are too many."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.attribution import Blame, IllBudget, attribute
from domain.deployment import NodeFailure
from domain.errors import (
    DiskFull,
    Fenced,
    HookFailed,
    ModuleNotReady,
    NodeUnreachable,
    ReadBackMismatch,
    SignatureRefused,
    SmokeFailed,
    TooFewHealthy,
    WrongTenant,
    ZoneShort,
)

BUDGET = IllBudget()


def failure(node: str, code: str) -> NodeFailure:
    return NodeFailure(node=node, code=code, message="words")


@pytest.mark.parametrize(
    ("code", "ailing", "blame"),
    [
        (DiskFull.code, False, Blame.NODE),
        (NodeUnreachable.code, False, Blame.NODE),
        (WrongTenant.code, False, Blame.NODE),
        (Fenced.code, False, Blame.OPERATOR),
        (HookFailed.code, False, Blame.OPERATOR),
        (HookFailed.code, True, Blame.OPERATOR),
        (SmokeFailed.code, False, Blame.RELEASE),
        (TooFewHealthy.code, False, Blame.RELEASE),
        (ZoneShort.code, False, Blame.INFRASTRUCTURE),
        (ModuleNotReady.code, False, Blame.RELEASE),
        (ReadBackMismatch.code, False, Blame.RELEASE),
        (SignatureRefused.code, False, Blame.RELEASE),
        ("a-code-of-tomorrow", False, Blame.RELEASE),
        (ModuleNotReady.code, True, Blame.NODE),
        (ReadBackMismatch.code, True, Blame.NODE),
    ],
)
def test_one_failure_is_put_down_to(code, ailing, blame):
    (found,) = attribute(
        [failure("web-1", code)], executed=20, ailing=["web-1"] if ailing else [], budget=BUDGET
    )
    assert found.blame is blame


@pytest.mark.parametrize(
    ("unreachable", "executed", "blame"),
    [
        (2, 5, Blame.NODE),  # fewer than an outage has
        (3, 20, Blame.NODE),  # no larger a share than sick nodes may have
        (5, 20, Blame.INFRASTRUCTURE),
        (3, 3, Blame.INFRASTRUCTURE),
    ],
)
def test_many_unreachable_nodes_at_once_are_an_outage(unreachable, executed, blame):
    failures = [failure(f"web-{number}", NodeUnreachable.code) for number in range(unreachable)]
    found = attribute(
        [*failures, failure("other", DiskFull.code)], executed=executed, ailing=[], budget=BUDGET
    )
    assert {each.blame for each in found[:-1]} == {blame}
    assert found[-1].blame is Blame.NODE


@pytest.mark.parametrize(
    ("ill", "planned", "exceeded"),
    [(1, 3, False), (2, 3, True), (2, 20, False), (3, 20, True), (0, 1, False)],
)
def test_a_rollout_goes_on_without_a_few_sick_nodes(ill, planned, exceeded):
    assert BUDGET.exceeded(ill=ill, planned=planned) is exceeded


@given(st.lists(st.sampled_from([DiskFull.code, NodeUnreachable.code, ModuleNotReady.code])))
def test_every_failure_is_put_down_to_somebody_and_none_is_lost(codes):
    failures = [failure(f"web-{number}", code) for number, code in enumerate(codes)]
    found = attribute(failures, executed=len(failures) + 5, ailing=[], budget=BUDGET)
    assert [each.failure for each in found] == failures
