"""Tenants' states and quotas."""

import itertools

import pytest

from domain.errors import IllegalTransition, InvalidInput
from domain.tenancy import (
    QUOTAS,
    RESERVED,
    TRANSITIONS,
    Quota,
    TenantState,
    Tier,
    check_name,
    check_quota,
    move,
    quota_of,
)


@pytest.mark.finding("1", "X14")
@pytest.mark.parametrize("following", TenantState)
@pytest.mark.parametrize("present", TenantState)
@pytest.mark.finding("X14")
def test_every_step_is_in_the_table_or_refused(present: TenantState, following: TenantState) -> None:
    if following in TRANSITIONS[present]:
        assert move(present, following) is following
    else:
        with pytest.raises(IllegalTransition):
            move(present, following)


@pytest.mark.finding("X14")
def test_nothing_comes_after_deleted_and_nothing_before_provisioning() -> None:
    assert TRANSITIONS[TenantState.DELETED] == ()
    assert not [each for each in TRANSITIONS.values() if TenantState.PROVISIONING in each]


def test_higher_tiers_have_more_of_everything() -> None:
    tiers = [QUOTAS[tier].model_dump() for tier in Tier if tier is not Tier.CUSTOM]
    for lower, higher in itertools.pairwise(tiers):
        assert all(lower[name] < higher[name] for name in lower)
    assert QUOTAS[Tier.CUSTOM] == Quota()


def test_figures_of_ones_own_come_with_the_custom_tier_only() -> None:
    own = Quota(nodes=3)
    check_quota(Tier.CUSTOM, own)
    assert quota_of(Tier.CUSTOM, own) == own
    assert quota_of(Tier.FREE, None) == QUOTAS[Tier.FREE]
    with pytest.raises(InvalidInput) as error:
        check_quota(Tier.FREE, own)
    assert error.value.field == "quota"


@pytest.mark.parametrize("name", RESERVED)
@pytest.mark.finding("X14")
def test_reserved_names_are_refused(name: str) -> None:
    with pytest.raises(InvalidInput):
        check_name(name)
    check_name(f"{name}-{name}")
