"""Samples become windows: counters per process life, histograms without averages of averages."""

import math

from hypothesis import given
from hypothesis import strategies as st

from domain.windows import difference, merge, quantile, reduce_samples
from domain.wire import Histogram, Sample

BOUNDS = (0.01, 0.1, 1.0)


def histogram(*counts: float) -> Histogram:
    return Histogram(bounds=BOUNDS, counts=counts[:-1], count=counts[-1], total=counts[-1] * 0.05)


def sample(at: float, instance: str = "1:1", version: str = "2.0.0", **facts) -> Sample:
    return Sample(at=at, version=version, instance=instance, **facts)


def test_counts_are_last_minus_first_of_each_process():
    samples = [
        sample(1, requests=100, errors=1),
        sample(2, requests=150, errors=1),
        sample(3, "2:9", requests=5, errors=0),
        sample(4, "2:9", requests=45, errors=4),
    ]
    window = reduce_samples("n", samples, version=None, since=0, until=9)
    assert (window.requests, window.errors) == (90, 4)


def test_only_the_wanted_release_and_time_count():
    samples = [sample(1, requests=0), sample(2, requests=9), sample(3, "2:1", "3.0.0", requests=100)]
    window = reduce_samples("n", samples, version="2.0.0", since=0, until=9)
    assert (window.samples, window.requests) == (2, 9)
    assert reduce_samples("n", samples, version=None, since=2.5, until=9).samples == 1


def test_what_a_node_does_not_report_is_none_and_not_zero():
    window = reduce_samples("n", [sample(1), sample(2)], version=None, since=0, until=9)
    assert (window.requests, window.errors, window.latency, window.cpu_cores) == (None, None, None, None)


def test_one_sample_has_no_growth():
    window = reduce_samples("n", [sample(1, requests=7, cpu_seconds=3)], version=None, since=0, until=9)
    assert (window.requests, window.cpu_cores, window.seconds) == (None, None, 0)


def test_cpu_is_seconds_per_second_and_health_is_counted():
    samples = [sample(10, cpu_seconds=1.0, probe_ok=True), sample(14, cpu_seconds=3.0, probe_ok=False)]
    window = reduce_samples("n", samples, version=None, since=0, until=99)
    assert math.isclose(window.cpu_cores, 0.5)
    assert (window.probes, window.unhealthy) == (2, 1)


def test_latency_is_the_windows_own_distribution():
    samples = [sample(1, latency=histogram(1, 1, 1, 1)), sample(2, latency=histogram(1, 11, 11, 11))]
    window = reduce_samples("n", samples, version=None, since=0, until=9)
    assert window.latency.counts == (0, 10, 10)
    assert math.isclose(quantile(window.latency, 0.5), 0.055)


@given(st.lists(st.lists(st.integers(0, 50), min_size=4, max_size=4), min_size=1, max_size=6))
def test_merging_loses_no_observation_and_quantiles_grow(columns):
    ladders = [[sum(column[: index + 1]) for index in range(4)] for column in columns]
    merged = merge([histogram(*ladder) for ladder in ladders])
    assert merged.count == sum(ladder[-1] for ladder in ladders)
    values = [quantile(merged, share) for share in (0.1, 0.5, 0.9, 0.99)]
    assert values == [None] * 4 or values == sorted(values)


def test_histograms_with_other_bounds_are_not_mixed():
    other = Histogram(bounds=(1.0,), counts=(2,), count=2, total=1)
    assert merge([histogram(1, 2, 3, 3), other]) is None
    assert difference(other, histogram(1, 1, 1, 1)) == other
