"""The agent as a service: configuration, its own metrics, heartbeats, samples out of an exposition."""

import asyncio
import math
import time
from pathlib import Path

import pytest
from aiohttp import web
from hypothesis import given, settings
from hypothesis import strategies as st

from agent import Agent
from agent.__main__ import main
from agent.config import load
from agent.probe import Scraped, parse
from clients.agent import AgentClient
from domain.errors import InvalidInput
from domain.manifest import Metrics
from domain.wire import NodeReport
from tests.agent.nodes import Node, Pki, Releases, config, until, write_config

NAMES = Metrics(socket="http")


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"colour": "red"}, "colour"),
        ({"listen": "nowhere"}, "listen"),
        ({"node": "UPPER"}, "node"),
        ({"heartbeat_seconds": 0}, "heartbeat_seconds"),
        ({"max_bundle_bytes": -1}, "max_bundle_bytes"),
        ({"control_plane": "ftp://x", "token_file": "t"}, "control_plane"),
    ],
)
def test_a_wrong_key_is_named(tmp_path: Path, pki: Pki, changes: dict[str, object], field: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        load(write_config(tmp_path / "agent.toml", pki, **changes))
    assert caught.value.field == field


def test_paths_start_at_the_file(tmp_path: Path, pki: Pki) -> None:
    loaded = load(write_config(tmp_path / "agent.toml", pki, directory="state", tls_ca="pki/ca.pem"))
    assert (loaded.directory, loaded.tls_ca) == (tmp_path / "state", tmp_path / "pki/ca.pem")
    assert loaded.stop_modules_on_exit is False


def test_the_program_says_why_it_does_not_start(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "agent.toml").write_text("node = ")
    assert main(["--config", str(tmp_path / "agent.toml")]) == 1
    assert "agent.toml" in caplog.text


async def test_metrics_of_the_agent(node: Node, releases: Releases) -> None:
    one = releases.files("1.0.0")
    await node.install(one)
    await node.stage(one, name="again")
    await node.stage(one, name="again")
    text = (await node.client._ask("GET", f"{node.address}/metrics")).decode()
    lines = text.splitlines()
    assert 'hotswap_agent_operations_total{action="activate",outcome="ok"} 1.0' in lines
    assert 'hotswap_agent_operations_total{action="stage",outcome="replayed"} 1.0' in lines
    assert f"hotswap_agent_staged_bytes_total {float(one.bundle.stat().st_size)}" in lines
    assert 'hotswap_agent_module_up{module="site",version="1.0.0"} 1.0' in lines
    [ends] = [
        line.split()[1] for line in lines if line.startswith("hotswap_agent_certificate_expires_seconds ")
    ]
    assert float(ends) > time.time()


async def test_many_agents_in_one_process(
    tmp_path: Path, pki: Pki, client: AgentClient, releases: Releases
) -> None:
    agents = []
    for number in range(20):
        home = tmp_path / str(number)
        home.mkdir()
        agents.append(Agent(config(home / "agent.toml", pki)))
    await asyncio.gather(*(agent.start() for agent in agents))
    nodes = [
        Node(client, agent.address, tmp_path / str(number) / "node") for number, agent in enumerate(agents)
    ]
    one = releases.files("1.0.0")
    results = await asyncio.gather(*(node.install(one) for node in nodes))
    assert all(result.report.current == one.ref for result in results)
    await asyncio.gather(*(agent.stop() for agent in agents))


class ControlPlane:
    """Receives heartbeats; answers as it is told."""

    def __init__(self) -> None:
        self.beats: list[tuple[str, str, NodeReport]] = []
        self.status = 204

    async def receive(self, request: web.Request) -> web.Response:
        report = NodeReport.model_validate_json(await request.read())
        self.beats.append((request.path, request.headers["Authorization"], report))
        return web.Response(status=self.status)


async def test_heartbeats(
    tmp_path: Path, pki: Pki, client: AgentClient, releases: Releases, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "agent")
    plane = ControlPlane()
    application = web.Application()
    application.router.add_post("/{path:.*}", plane.receive)
    runner = web.AppRunner(application)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    (tmp_path / "token").write_text("secret-1\n")
    agent = Agent(
        config(
            tmp_path / "agent.toml",
            pki,
            control_plane=f"http://127.0.0.1:{runner.addresses[0][1]}/",
            token_file="token",
            heartbeat_seconds=0.05,
        )
    )
    await agent.start()
    one = releases.files("1.0.0")
    await Node(client, agent.address, tmp_path / "node").install(one)
    await until(lambda: one.ref in [module.current for module in plane.beats[-1][2].modules])
    assert plane.beats[-1][:2] == ("/api/v1/nodes/node-1/heartbeat", "Bearer secret-1")
    # The token may change, and an ill control plane is logged once, not every time.
    (tmp_path / "token").write_text("secret-2")
    await until(lambda: plane.beats[-1][1] == "Bearer secret-2")
    plane.status = 500
    seen = len(plane.beats)
    await until(lambda: len(plane.beats) > seen + 5)
    plane.status = 204
    await until(lambda: "again" in caplog.text)
    assert caplog.text.count("do not reach") == 1
    await runner.cleanup()
    assert (await client.report(agent.address)).node == "node-1"
    await agent.stop()


def test_counters_and_histograms_are_summed_over_labels() -> None:
    found = parse(
        """
# TYPE requests_total counter
requests_total{path="/a"} 3
requests_total{path="/b"} 4
# TYPE request_duration_seconds histogram
request_duration_seconds_bucket{path="/a",le="0.1"} 1
request_duration_seconds_bucket{path="/a",le="+Inf"} 3
request_duration_seconds_sum{path="/a"} 0.5
request_duration_seconds_count{path="/a"} 3
request_duration_seconds_bucket{path="/b",le="0.1"} 2
request_duration_seconds_bucket{path="/b",le="+Inf"} 4
request_duration_seconds_sum{path="/b"} 1.5
request_duration_seconds_count{path="/b"} 4
""",
        NAMES,
    )
    assert found.requests == 7
    assert found.errors is None  # not exposed: absent, not zero
    assert found.latency is not None
    assert (found.latency.bounds, found.latency.counts) == ((0.1,), (3.0,))
    assert (found.latency.count, found.latency.total) == (7.0, 2.0)


def test_a_counter_without_series_yet_is_zero() -> None:
    assert parse("# TYPE request_errors_total counter\n", NAMES).errors == 0


@pytest.mark.parametrize("value", ["NaN", "+Inf"])
def test_values_that_are_no_numbers_are_absent(value: str) -> None:
    assert parse(f"# TYPE requests_total counter\nrequests_total {value}\n", NAMES) == Scraped()


@settings(max_examples=300, deadline=None)
@given(st.text(alphabet=st.sampled_from('requests_total{le="0.1"} 3\n#TYPE\\,=+eINFa'), max_size=80))
def test_any_text_is_an_exposition_or_a_value_error(text: str) -> None:
    try:
        found = parse(text, NAMES)
    except ValueError:
        return
    assert found.requests is None or math.isfinite(found.requests)
