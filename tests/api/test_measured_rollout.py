"""Rollouts judged by a real Prometheus that scrapes the module itself, by a web server and by a command."""

import asyncio
import json
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from temporalio.testing import WorkflowEnvironment

from bundles.archive import pack
from cli.demo.sender import traffic
from domain.analysis import Doubt, Outcome
from domain.deployment import CauseKind, Phase
from domain.guard import GuardRule
from domain.judges.registry import judge
from domain.judging import Replay
from domain.names import analysis_id, guard_id
from domain.policy import AnalysisRule, EnvironmentPolicy
from domain.provider_settings import AllowedAddress, AllowedCommand, ProviderSettings
from domain.strategy import Canary, Direct
from examples.greeter.build import build
from tests.agent.nodes import Pki, Release, Releases, clean
from tests.api.conftest import TENANT, World, new_namespace, new_world
from tests.api.working import Agents, at_work
from tests.clients.providers.prometheus_server import Server, needs_prometheus, wait_until
from tests.conftest import free_port
from tests.http_server import Quiet, serving

pytestmark = [pytest.mark.faults_long, pytest.mark.timeout(300), needs_prometheus]
NODES = ("web-1", "web-2", "web-3")
OLD, GOOD, BAD = "1.0.0", "2.0.0", "3.0.0"
STRATEGY = Canary(shares=(30, 100), bake=1)
DURATION = 10.0
CHECK = "import json, os; print(json.dumps({'version': os.environ['HOTSWAP_VERSION']}))"
PATIENCE = 90.0


class Broker(Quiet, BaseHTTPRequestHandler):
    """Tells how long a queue is."""

    asked = 0

    def do_GET(self) -> None:
        type(self).asked += 1
        body = json.dumps({"queue": {"length": 3}}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


@pytest.fixture(scope="module")
def broker() -> Iterator[str]:
    with serving(Broker) as address:
        yield address


@dataclass
class Scene:
    """Three nodes that run the greeter under traffic, and the Prometheus that scrapes it there."""

    world: World
    broker: str
    prometheus: Server = field(init=False)

    async def order(self, version: str, strategy: Canary | Direct) -> str:
        body = {"module": "greeter", "version": version, "environment": "development"}
        async with self.world.asks("dora") as dora:
            answer = await dora.post("/deployments", json={**body, "strategy": strategy.model_dump()})
        assert answer.status_code == 202, answer.text
        return str(answer.json()["id"])

    async def look(self, path: str) -> dict[str, Any]:
        async with self.world.asks("vera") as vera:
            answer = await vera.get(path)
        return dict(answer.json()) if answer.status_code == 200 else {}

    async def wait(self, path: str, condition: Callable[[dict[str, Any]], object]) -> dict[str, Any]:
        """What the API shows there once it is so."""
        deadline = time.monotonic() + PATIENCE
        while True:
            shown = await self.look(path)
            if shown and condition(shown):
                return shown
            if time.monotonic() > deadline:
                raise AssertionError(f"not within {PATIENCE:.0f} s: {shown}")
            await asyncio.sleep(0.1)

    async def ended(self, deployment: str) -> dict[str, Any]:
        return await self.wait(f"/deployments/{deployment}", lambda shown: shown["finished_at"])

    async def versions(self) -> list[str]:
        """What the nodes really run."""
        found = []
        for name in NODES:
            address = (await self.look(f"/nodes/{name}"))["address"]
            report = await self.world.services.agents.of(TENANT).module(address, "greeter")
            assert report.current is not None
            found.append(report.current.version)
        return found


@pytest_asyncio.fixture(scope="module")
async def scene(
    temporal: WorkflowEnvironment,
    new_database: Callable[[], str],
    tmp_path_factory: pytest.TempPathFactory,
    broker: str,
) -> AsyncIterator[Scene]:
    directory = tmp_path_factory.mktemp("measured")
    client, port = await new_namespace(temporal), free_port()
    allowed = ProviderSettings(
        addresses=tuple(AllowedAddress(address=each) for each in (f"http://127.0.0.1:{port}", broker)),
        commands={"smoke-test": AllowedCommand(argv=(sys.executable, "-c", CHECK))},
    )
    async with AsyncExitStack() as opened:
        world = await opened.enter_async_context(new_world(directory, new_database(), client))
        agents = Agents(world, directory)
        opened.callback(lambda: [clean(directory / name) for name in NODES])
        opened.callback(agents.kill)
        nodes = {name: await agents.join("development", name, sample_seconds=0.5) for name in NODES}
        await opened.enter_async_context(at_work(world, client, allowed))
        made = Scene(world, broker)
        for version in (OLD, GOOD, BAD):
            release = greeter(version, directory / version, world.pki, world.releases)
            assert (await world.push(release)).status_code == 201
        await made.ended(await made.order(OLD, Direct()))
        reports = {name: await node.module("greeter") for name, node in nodes.items()}
        endpoints = {name: report.endpoints["http"] for name, report in reports.items()}
        targets = {name: int(endpoint.rpartition(":")[2]) for name, endpoint in endpoints.items()}
        made.prometheus = Server(tmp_path_factory.mktemp("prometheus"), targets, port)
        opened.callback(made.prometheus.stop)
        await asyncio.to_thread(made.prometheus.start)
        urls = {name: f"http://{endpoint}/" for name, endpoint in endpoints.items()}
        running = opened.enter_context(traffic(urls, directory))
        await asyncio.to_thread(running.wait_for, len(urls))
        yield made


def greeter(version: str, place: Path, pki: Pki, releases: Releases) -> Release:
    """One of the example's releases, signed."""
    place.mkdir()
    build(version, place / "tree")
    ref = pack(place / "tree", place / "bundle")
    return Release(ref, place / "bundle", releases.signature(place / "bundle", pki.signer))


async def set_policy(scene: Scene) -> None:
    """Nothing but Prometheus, the web server and the command has a say."""
    selected = '{name}{{node=~"{{{{nodes}}}}"}}'
    asked = {"address": scene.prometheus.address}
    failed = {
        **asked,
        "spec": {"name": "failed", "kind": "ratio", "tolerance": 0.5, "floor": 0.01, "must_have_data": True},
        "query": selected.format(name="request_errors_total"),
        "exposure": selected.format(name="requests_total"),
        "node_label": "node",
    }
    answer = {
        **asked,
        "spec": {"name": "answer", "kind": "latency", "unit": "s", "tolerance": 1.0, "floor": 0.05},
        "histogram": selected.format(name="request_duration_seconds"),
        "node_label": "node",
    }
    served = {
        "metric": {"name": "served", "count": 2, "interval": 2, "success_condition": "result[0] > 1"},
        "provider": {
            **asked,
            "kind": "prometheus",
            "query": 'sum(rate(requests_total{node=~"{{canary}}"}[5s]))',
        },
    }
    queue = {
        "metric": {"name": "queue", "interval": 2, "failure_condition": "result > 1000"},
        "provider": {"kind": "web", "url": f"{scene.broker}/stats", "json_path": "$.queue.length"},
    }
    smoke = {
        "metric": {"name": "smoke", "success_condition": "result.exit == 0 && result.output.version != ''"},
        "provider": {"kind": "command", "command": "smoke-test"},
    }
    rule = AnalysisRule.model_validate(
        {
            "judge": "threshold",
            "duration": DURATION,
            "interval": 2,
            "warm_up": 3,
            "extensions": 0,
            "on_inconclusive": "rollback",
            "outage": 120,
            "metrics": [],
            "sources": [failed, answer],
            "conditions": [served, queue, smoke],
        }
    )
    policy = EnvironmentPolicy(strategy=STRATEGY, analysis=rule)
    async with scene.world.asks("admin") as admin:
        answer = await admin.put("/clusters/development/policy", json=policy.model_dump(mode="json"))
    assert answer.status_code == 200, answer.text


async def test_an_outage_of_prometheus_holds_the_rollout_until_it_is_back(scene: Scene) -> None:
    await set_policy(scene)
    asked = Broker.asked
    deployment = await scene.order(GOOD, STRATEGY)
    analysis = f"/analyses/{analysis_id(deployment, 1)}"
    await scene.wait(analysis, lambda shown: Broker.asked > asked)
    scene.prometheus.kill()
    # One look more than its time allows: without an answer it neither passes nor turns back.
    looks = round(DURATION / 2) + 1
    seen = await scene.wait(analysis, lambda shown: len(shown["looks"]) > looks)
    assert seen["looks"][-1]["verdict"]["doubt"] == Doubt.PROVIDER_DOWN
    assert (await scene.look(f"/deployments/{deployment}"))["phase"] == Phase.ANALYZING
    await asyncio.to_thread(scene.prometheus.start)
    end = await scene.ended(deployment)
    assert (end["phase"], end["cause"]) == (Phase.COMPLETED, None)
    verdict = end["verdict"]
    assert {each["metric"]: each["outcome"] for each in verdict["metrics"]} == dict.fromkeys(
        ("failed", "answer", "served", "queue", "smoke"), Outcome.PASS
    )
    assert await scene.versions() == [GOOD] * 3


async def test_what_the_module_counts_itself_turns_a_bad_release_back(scene: Scene) -> None:
    await set_policy(scene)
    before = await scene.versions()
    deployment = await scene.order(BAD, STRATEGY)
    end = await scene.ended(deployment)
    assert end["phase"] == Phase.ROLLED_BACK_VERIFIED
    assert end["cause"]["kind"] == CauseKind.ANALYSIS
    failing = {each["metric"] for each in end["verdict"]["metrics"] if each["outcome"] == Outcome.FAIL}
    assert failing
    assert failing <= {"failed", "answer"}
    assert await scene.versions() == before
    await judged_again(scene, f"/analyses/{analysis_id(deployment, 1)}")


async def watched(scene: Scene, guard: dict[str, Any]) -> str:
    """A release whose errors nobody looks at before it has completed, under this guard; the deployment."""
    policy = EnvironmentPolicy(strategy=Direct(), guard=GuardRule.model_validate(guard))
    async with scene.world.asks("admin") as admin:
        answer = await admin.put("/clusters/development/policy", json=policy.model_dump(mode="json"))
    assert answer.status_code == 200, answer.text
    deployment = await scene.order(BAD, Direct())
    assert (await scene.ended(deployment))["phase"] == Phase.COMPLETED
    return deployment


async def test_a_guard_takes_back_what_prometheus_shows_to_be_worse_than_before(scene: Scene) -> None:
    before = await scene.versions()
    failed = {
        "address": scene.prometheus.address,
        "spec": {"name": "failed", "kind": "ratio", "tolerance": 0.5, "floor": 0.01, "must_have_data": True},
        "query": 'request_errors_total{node=~"{{nodes}}"}',
        "exposure": 'requests_total{node=~"{{nodes}}"}',
        "node_label": "node",
    }
    queue = {
        "metric": {"name": "queue", "interval": 2, "failure_condition": "result > 1000"},
        "provider": {"kind": "web", "url": f"{scene.broker}/stats", "json_path": "$.queue.length"},
    }
    times = {"seconds": 120, "interval": 2, "window": 8, "misses": 2, "against": "recorded"}
    known = f"count(requests_total offset {times['window'] + 4}s) >= {len(NODES)}"  # else there is no before
    await asyncio.to_thread(wait_until, scene.prometheus.address, known, 60)
    deployment = await watched(scene, {**times, "metrics": [], "sources": [failed], "conditions": [queue]})
    scene.prometheus.kill()
    analysis = f"/analyses/{guard_id(deployment)}"
    seen = await scene.wait(analysis, lambda shown: len(shown["looks"]) > times["misses"])
    assert seen["looks"][-1]["verdict"]["doubt"] == Doubt.PROVIDER_DOWN
    assert await scene.look(f"/deployments/{deployment}-guard") == {}
    await asyncio.to_thread(scene.prometheus.start)
    end = await scene.ended(f"{deployment}-guard")
    assert end["phase"] == Phase.ROLLED_BACK_VERIFIED
    assert await scene.versions() == before
    verdict = (await scene.look(analysis))["verdict"]
    outcomes = {each["metric"]: each["outcome"] for each in verdict["metrics"]}
    assert outcomes == {"failed": Outcome.FAIL, "queue": Outcome.PASS}
    await judged_again(scene, analysis)


async def judged_again(scene: Scene, analysis: str) -> None:
    """Every look that the judge took, from what was kept of it: the same verdict, bit for bit."""
    looks = (await scene.look(analysis))["looks"][
        :-1
    ]  # the last word is the checks' and the judge's together
    assert looks
    for look in looks:
        kept = Replay.model_validate(await scene.look(f"{analysis}/inputs?look={look['number']}"))
        verdict, _ = judge(kept.judged.policy, kept.before, kept.judged.look)
        assert verdict == kept.verdict
        assert verdict.model_dump(mode="json") == look["verdict"]
