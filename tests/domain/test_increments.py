"""Samples become disjoint intervals: nothing counted twice, nothing lost, absent is not zero."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.agent_metrics import AGENT_METRICS, interval_count, metric_looks, overlap
from domain.increments import cut, silent
from domain.wire import Histogram, Sample


def sample(at: float, instance: str = "1:1", version: str = "2.0.0", **facts) -> Sample:
    return Sample(at=at, version=version, instance=instance, **facts)


def test_an_increment_belongs_to_the_interval_of_its_later_sample():
    samples = [sample(at, requests=10.0 * at, cpu_seconds=0.5 * at) for at in range(11)]
    node = cut("n", samples, version=None, start=4.0, end=10.0, parts=3)
    assert node.requests == (20.0, 20.0, 20.0)
    assert node.cpu_cores == (0.5, 0.5, 0.5)
    assert node.samples == 6


@given(
    st.lists(st.integers(0, 50), min_size=2, max_size=40),
    st.lists(st.floats(0.5, 39.5), max_size=3, unique=True),
)
def test_however_looks_are_cut_every_request_is_counted_once(grown, cuts):
    counter, samples = 0.0, []
    for at, more in enumerate(grown):
        counter += more
        samples.append(sample(float(at), requests=counter))
    edges = [0.0, *sorted(cuts), 40.0]
    counted = 0.0
    for start, end in pairwise(edges):
        near = [each for each in samples if each.at > start - 15.0]
        counted += sum(filter(None, cut("n", near, version=None, start=start, end=end, parts=3).requests))
    assert counted == counter - grown[0]


def test_another_process_begins_anew_and_another_release_is_left_out():
    samples = [
        sample(1, "1:1", "1.0.0", requests=500.0),
        sample(2, "2:1", requests=0.0),
        sample(3, "2:1", requests=7.0),
        sample(4, "3:1", requests=2.0),
        sample(5, "3:1", requests=5.0),
    ]
    node = cut("n", samples, version="2.0.0", start=0.0, end=5.0, parts=1)
    assert node.requests == (10.0,)
    assert node.versions == ("2.0.0",)
    assert cut("n", samples, version=None, start=0.0, end=5.0, parts=1).versions == ("1.0.0", "2.0.0")


def test_what_a_node_does_not_report_is_none_and_not_zero():
    node = cut("n", [sample(1), sample(2)], version=None, start=0.0, end=2.0, parts=2)
    assert (node.requests, node.cpu_cores, node.memory_bytes) == ((None, None), (None, None), (None, None))
    assert node.unhealthy == (0.0, 0.0)
    assert silent("n", 3).unhealthy == (None, None, None)


def histogram(bounds, *counts: float) -> Histogram:
    return Histogram(bounds=bounds, counts=counts[:-1], count=counts[-1], total=1.0)


def test_bucket_counts_are_those_of_the_interval_at_bounds_that_all_nodes_share():
    old, new = (0.01, 0.1, 1.0), (0.01, 0.05, 1.0)
    nodes = [
        cut(
            name,
            [
                sample(1, latency=histogram(bounds, 1, 2, 3, 4)),
                sample(2, latency=histogram(bounds, 2, 5, 9, 14)),
            ],
            version=None,
            start=1.0,
            end=2.0,
            parts=1,
        )
        for name, bounds in (("a", old), ("b", new))
    ]
    looks = {look.spec.name: look for look in metric_looks(AGENT_METRICS, nodes[:1], nodes[1:], (), ())}
    assert looks["latency"].bounds == (0.01, 1.0)
    assert looks["latency"].canary.buckets == (((1.0, 5.0, 4.0),),)


def test_a_baseline_that_runs_the_release_is_none():
    node = cut("b", [sample(1), sample(2)], version=None, start=0.0, end=2.0, parts=1)
    assert "b" in overlap([node], "2.0.0")
    assert overlap([node], "3.0.0") == ""


@pytest.mark.parametrize(("interval", "count"), [(1.5, 1), (6, 3), (30, 10), (300, 10)])
def test_intervals_are_never_shorter_than_two_samples(interval, count):
    assert interval_count(interval) == count
