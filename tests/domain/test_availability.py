"""Margins: which nodes may start so that each zone keeps enough of its nodes up."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.availability import OfflineBudget, Standing, admitted, spoilt


@pytest.mark.parametrize(
    ("offline", "nodes", "exceeded"),
    [(0, 3, False), (1, 10, True), (1, 20, False), (2, 39, True), (2, 40, False)],
)
def test_a_few_offline_nodes_do_not_refuse_a_large_fleet(offline, nodes, exceeded):
    assert OfflineBudget().exceeded(offline=offline, nodes=nodes) is exceeded


def fleet(healthy: int, ill: int = 0, in_change: int = 0) -> dict[str, Standing]:
    kinds = [(True, False)] * healthy + [(False, False)] * ill + [(True, True)] * in_change
    return {
        f"n{number}": Standing(zone="a", healthy=up, in_change=changing)
        for number, (up, changing) in enumerate(kinds)
    }


def test_as_many_start_as_the_zone_can_spare():
    assert admitted(["n0", "n1", "n2", "n3"], fleet(4), {"a": 3}) == ("n0",)
    assert admitted(["n0", "n1", "n2", "n3"], fleet(4), {"a": 2}) == ("n0", "n1")
    assert admitted(["n0"], fleet(3, in_change=1), {"a": 3}) == ()


def test_an_ill_node_takes_nothing_away_but_waits_while_the_zone_is_short():
    assert admitted(["n2", "n0"], fleet(2, ill=1), {"a": 2}) == ("n2",)
    assert admitted(["n2"], fleet(2, ill=1), {"a": 3}) == ()


def test_a_node_that_a_crashed_attempt_has_begun_goes_on():
    assert admitted(["n1"], fleet(1, in_change=1), {"a": 1}) == ("n1",)


@pytest.mark.parametrize(
    ("touched", "healthy", "zone", "found"),
    [
        (True, False, "a", ("n1",)),
        (True, True, "a", ()),
        (False, False, "a", ()),
        (True, False, "b", ()),
    ],
)
def test_a_zone_is_spoilt_by_an_ill_node_of_it_that_the_rollout_has_changed(touched, healthy, zone, found):
    there = Standing(zone=zone, healthy=healthy, in_change=False, touched=touched)
    waiting = Standing(zone="a", healthy=True, in_change=False)
    assert spoilt(["n1"], {"n0": there, "n1": waiting}) == found


@given(
    st.lists(
        st.builds(Standing, zone=st.sampled_from(["a", "b"]), healthy=st.booleans(), in_change=st.booleans()),
        min_size=1,
        max_size=12,
    ),
    st.integers(0, 6),
)
def test_no_zone_falls_below_its_margin_by_what_is_admitted(standings, least):
    named = {f"n{number}": standing for number, standing in enumerate(standings)}
    chosen = admitted(list(named), named, {"a": least, "b": least})
    for zone in ("a", "b"):
        mine = {name: each for name, each in named.items() if each.zone == zone}
        fresh = [name for name in chosen if name in mine and not mine[name].in_change]
        up = sum(each.healthy and not each.in_change for name, each in mine.items() if name not in fresh)
        assert not fresh or up >= least
