"""The Prometheus client against a real Prometheus that scrapes two real nodes."""

import math
import time
from collections.abc import Iterator
from dataclasses import dataclass

import pytest
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from activities.source_metrics import read_sources
from clients.providers.http import ProviderHttp
from clients.providers.prometheus import PrometheusClient
from domain.errors import ProviderDown, ProviderRefused
from domain.messages import AnalysisInput
from domain.metrics import MetricKind, MetricSpec
from domain.policy import AnalysisRule
from domain.provider_settings import AllowedAddress, ProviderSettings
from domain.providers import PrometheusSource
from domain.series import ends, grown, histogram_side, plain_side
from tests.clients.providers.prometheus_server import needs_prometheus, prometheus, target, wait_until
from tests.conftest import free_port

pytestmark = needs_prometheus
BOUNDS = (0.1, 0.5, 2.5)
NODES = ("web-1", "web-2")


@dataclass
class Scene:
    """A server, and what its two nodes observed between `began` and `ended`."""

    address: str
    began: float
    ended: float


def observe(number: int, registry: CollectorRegistry) -> tuple[Counter, Histogram]:
    requests = Counter("requests", "n", ["code"], registry=registry)
    latency = Histogram("latency_seconds", "s", buckets=BOUNDS, registry=registry)
    Gauge("load", "x", registry=registry).set(number)
    requests.labels("200").inc(0)
    return requests, latency


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    registries = [CollectorRegistry() for _ in NODES]
    observed = [observe(number, registry) for number, registry in enumerate(registries, start=1)]
    with target(registries[0]) as first, target(registries[1]) as second:
        directory = tmp_path_factory.mktemp("prometheus")
        with prometheus(directory, dict(zip(NODES, (first, second), strict=True))) as address:
            wait_until(address, "min(count_over_time(latency_seconds_count[1m])) >= 2")
            began = time.time()
            for number, (requests, latency) in enumerate(observed, start=1):
                requests.labels("200").inc(90)
                requests.labels("500").inc(10 * number)
                for seconds in (0.05, 0.2, 0.2, 9.0):
                    latency.observe(seconds)
            wait_until(address, "min(latency_seconds_count) == 4")
            wait_until(address, f"min(timestamp(latency_seconds_count)) > {time.time() + 1}")
            yield Scene(address=address, began=began, ended=time.time())


@pytest.fixture
async def client(scene: Scene):
    allowed = ProviderSettings(addresses=(AllowedAddress(address=scene.address),))
    async with ProviderHttp(allowed) as http:
        yield PrometheusClient(http)


async def test_scalars_and_vectors(scene, client):
    assert await client.value(scene.address, "scalar(sum(load))", timeout=5) == 3.0
    assert sorted(await client.value(scene.address, "load", timeout=5)) == [1.0, 2.0]
    assert await client.value(scene.address, "no_such_metric", timeout=5) == []
    (nothing,) = await client.value(scene.address, "sum(load) * 0 / 0", timeout=5)
    assert math.isnan(nothing)


@pytest.mark.parametrize("timeout", [30.0, 0.75])
async def test_a_time_out_may_be_any_number_of_seconds(scene, client, timeout):
    """Prometheus itself takes neither 30.0s nor 0.75s."""
    assert await client.value(scene.address, "vector(1)", timeout=timeout) == [1.0]
    now = time.time()
    found = await client.series(scene.address, "vector(1)", start=now - 2, end=now, step=1, timeout=timeout)
    assert len(found) == 1


async def test_a_step_of_odd_milliseconds_does_not_drift(scene, client):
    start = 1_700_000_000.0
    (found,) = await client.series(
        scene.address, "vector(1)", start=start, end=start + 10 * 1.001, step=1.001, timeout=5
    )
    assert [round(at - start, 3) for at, _ in found.points] == [round(n * 1.001, 3) for n in range(11)]


async def test_a_result_that_is_no_number_is_refused(scene, client):
    for query in ("load[1m]", '"text"'):
        with pytest.raises(ProviderRefused, match="neither scalar nor vector"):
            await client.value(scene.address, query, timeout=5)


async def test_a_bad_query_is_refused_and_no_outage(scene, client):
    with pytest.raises(ProviderRefused, match="parse error"):
        await client.value(scene.address, "sum(", timeout=5)


async def test_histograms_become_disjoint_buckets_per_node(scene, client):
    """All that was observed is counted exactly once, whatever the interval it fell into."""
    step = math.floor((scene.ended - scene.began) / 3 * 1000) / 1000
    at = ends(scene.began, scene.ended, step)
    series = await client.series(
        scene.address, "latency_seconds_bucket", start=at[0] - step, end=at[-1], step=step, timeout=5
    )
    series = grown(series, at, step)
    bounds, side = histogram_side(series, at, "node", NODES)
    assert bounds == BOUNDS
    assert side.nodes == NODES
    for row in side.buckets:
        assert None not in row
        assert len(row) >= 2
        assert [sum(column) for column in zip(*row, strict=True)] == [1, 2, 0, 1]


async def test_events_and_exposure_per_node(scene, client):
    at = (scene.ended,)
    window = f"{round(scene.ended - scene.began) + 2}s"
    asked = {"start": at[0], "end": at[0], "step": 60.0, "timeout": 5}
    events = await client.series(
        scene.address, 'sum by (node) (requests_total{code="500"}) > 0 or vector(0)', **asked
    )
    total = await client.series(scene.address, f"sum by (node) (increase(requests_total[{window}]))", **asked)
    side = plain_side(events, total, at, "node", NODES)
    assert side.values == ((10.0,), (20.0,))
    assert all(row[0] > 80 for row in side.exposure)


async def test_what_is_not_allowed_is_not_asked(scene, client):
    with pytest.raises(ProviderRefused, match="under no address"):
        await client.value("http://127.0.0.1:1", "up", timeout=5)
    with pytest.raises(ProviderRefused, match="under no address"):
        await client.value(f"{scene.address}1", "up", timeout=5)


async def test_a_server_that_is_gone_is_an_outage():
    address = f"http://127.0.0.1:{free_port()}"
    async with ProviderHttp(ProviderSettings(addresses=(AllowedAddress(address=address),))) as http:
        with pytest.raises(ProviderDown):
            await PrometheusClient(http).value(address, "up", timeout=2)


async def test_a_policys_sources_become_both_sides_of_a_look(scene):
    spec = {"margin": 0, "tolerance": 1}
    label = 'node=~"{{nodes}}"'
    common = {"address": scene.address, "node_label": "node"}
    rule = AnalysisRule(
        sources=(
            PrometheusSource(
                spec=MetricSpec(name="failed", kind=MetricKind.RATIO, **spec),
                query=f"sum by (node) (requests_total{{{label}}})",
                exposure=f"sum by (node) (latency_seconds_count{{{label}}})",
                **common,
            ),
            PrometheusSource(
                spec=MetricSpec(name="answer", kind=MetricKind.LATENCY, **spec),
                histogram=f"latency_seconds{{{label}}}",
                **common,
            ),
            PrometheusSource(
                spec=MetricSpec(name="load", kind=MetricKind.GAUGE, **spec),
                query=f"load{{{label}}}",
                **common,
            ),
            PrometheusSource(
                spec=MetricSpec(name="gone", kind=MetricKind.GAUGE, **spec),
                query="load",
                address="http://127.0.0.1:1",
            ),
        )
    )
    request = AnalysisInput(
        tenant="acme",
        environment="qa",
        deployment="d",
        analysis="analysis-d-1",
        wave=1,
        module="greeter",
        canary=NODES[:1],
        baseline=NODES[1:],
        canary_version="2.0.0",
        rule=rule,
        subject="greeter",
    )
    allowed = ProviderSettings(addresses=(AllowedAddress(address=scene.address),))
    async with ProviderHttp(allowed) as http:
        looks = await read_sources(http, request, start=scene.began, end=scene.ended, parts=2)
        span = (scene.ended - scene.began) / 2
        halves = {"start": scene.began + span, "end": scene.ended, "parts": 1}
        earlier = await read_sources(http, request, **halves, back=span)
    failed, answer, load, gone = looks
    assert [sum(row) for row in (*failed.canary.values, *failed.baseline.values)] == [100, 110]
    assert [sum(row) for row in failed.baseline.exposure] == [4]
    assert answer.bounds == BOUNDS
    assert [sum(column) for column in zip(*answer.canary.buckets[0], strict=True)] == [1, 2, 0, 1]
    assert (load.canary.values, load.baseline.values) == (((1, 1),), ((2, 2),))
    assert (load.canary.nodes, load.baseline.nodes) == (NODES[:1], NODES[1:])
    assert "under no address" in gone.provider_down
    whole = failed.canary.values[0]
    assert [(each.canary.nodes, each.baseline.nodes) for each in earlier[:1]] == [(NODES[:1], NODES[:1])]
    assert (earlier[0].baseline.values[0], earlier[0].canary.values[0]) == (whole[:1], whole[1:])
