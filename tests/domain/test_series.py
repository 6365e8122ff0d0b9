"""Series to sides: growth that counts every event once, resets, nodes, absent intervals."""

import math

import pytest

from domain.series import Series, ends, grown, histogram_side, plain_side

AT = (10.0, 20.0, 30.0)


def series(*values: float | None, **labels: str) -> Series:
    """A counter at 0, 10, 20, 30."""
    points = zip((0.0, *AT), values, strict=False)
    return Series(labels=labels, points=tuple((at, value) for at, value in points if value is not None))


def test_intervals_are_disjoint_and_whole():
    assert ends(0, 35, 10) == AT
    assert ends(0, 9, 10) == ()


@pytest.mark.parametrize(
    ("values", "growth"),
    [
        ((0, 5, 5, 9), {10: 5, 20: 0, 30: 4}),
        ((7, 9, 2, 3), {10: 2, 20: 2, 30: 1}),  # reset between 10 and 20
        ((None, 9, 12, 12), {20: 3, 30: 0}),  # not there at 0: the first interval was not observed
        ((1, None, 4, 6), {30: 2}),
    ],
)
def test_growth(values, growth):
    (found,) = grown([series(*values)], AT, 10)
    assert dict(found.points) == growth


def test_nodes_are_told_apart_and_a_silent_one_has_no_numbers():
    events = grown([series(0, 1, 1, 4, instance="web-1:9100")], AT, 10)
    total = grown(
        [series(0, 10, 20, 30, instance="web-1:9100"), series(0, 5, 9, 9, instance="web-2:9100")], AT, 10
    )
    side = plain_side(events, total, AT, "instance", ("web-1", "web-2", "web-3"))
    assert side.nodes == ("web-1", "web-2", "web-3")
    assert side.values == ((1, 0, 3), (0, 0, 0), (None, None, None))
    assert side.exposure == ((10, 10, 10), (5, 4, 0), (None, None, None))
    assert side.samples == (3, 3, 0)


def test_without_a_node_label_all_series_are_one_row():
    side = plain_side(
        [series(0, 1, 2, 3, a="x"), series(0, 1, math.nan, 3, a="y")], None, AT, None, ("web-1",)
    )
    assert side.nodes == ("all",)
    assert side.values == ((2, 2, 6),)


def test_a_histogram_is_uncumulated_and_never_negative():
    levels = {"0.1": (0, 1, 1, 1), "0.5": (0, 3, 3, 2), "+Inf": (0, 4, 4, 9)}
    found = [series(*values, le=le) for le, values in levels.items()]
    bounds, side = histogram_side(grown(found, AT, 10), AT, None, ())
    assert bounds == (0.1, 0.5)
    assert side.buckets == (((1, 2, 1), (0, 0, 0), (0, 2, 3)),)


def test_a_histogram_without_its_last_bucket_was_not_observed():
    bounds, side = histogram_side([series(0, 1, 2, 3, le="0.1")], AT, None, ())
    assert bounds == (0.1,)
    assert side.buckets == ((None, None, None),)
    assert side.samples == (0,)
