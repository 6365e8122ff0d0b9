"""Nodes and clusters: registered, heard of, healthy or not, measured by their agents."""

import asyncio
import re
import time
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest
import pytest_asyncio
from sqlalchemy import text

from api.application import create_app
from domain.deployment import Phase
from domain.outcomes import OutcomeKind
from domain.planner import make_plan
from domain.policy import EnvironmentPolicy
from domain.strategy import Direct
from domain.wire import ModuleReport, ModuleState, NodeReport
from store import deployments, nodes
from store.database import Database
from store.records import NodeOutcome
from tests.agent.nodes import AgentProcess, Node, until_report, write_config
from tests.api.conftest import TENANT, World
from tests.api.test_deployments import enter
from tests.conftest import free_port

REPORT = NodeReport(node="qa-1", boot_id="b", agent_version="1", agent_started=0.0, disk_free_bytes=1)


async def register(world: World, name: str, environment: str, address: str = "https://127.0.0.1:9") -> Any:
    body = {"name": name, "environment": environment, "address": address, "labels": {"zone": "a"}}
    async with world.asks("admin") as admin:
        return await admin.post("/nodes", json=body)


async def beat(world: World, name: str, token: str, report: NodeReport) -> httpx.Response:
    async with world.asks(None) as agent:
        agent.headers["Authorization"] = f"Bearer {token}"
        headers = {"Content-Type": "application/json"}
        return await agent.post(f"/nodes/{name}/heartbeat", content=report.model_dump_json(), headers=headers)


async def cluster(world: World, environment: str) -> dict[str, Any]:
    async with world.asks("vera") as vera:
        shown: dict[str, Any] = (await vera.get(f"/clusters/{environment}")).json()
        listed = {item["environment"]: item for item in (await vera.get("/clusters")).json()["items"]}
    assert listed[environment]["healthy"] == shown["healthy"]
    return shown


@pytest.mark.finding("X21")
async def test_an_environment_is_healthy_when_its_nodes_report_that_they_are(own_world: World) -> None:
    empty = await cluster(own_world, "staging")
    assert (empty["healthy"], empty["nodes_total"]) == (False, 0)
    first = await register(own_world, "st-1", "staging")
    assert first.status_code == 201
    assert (await cluster(own_world, "staging"))["nodes"][0]["problems"] == ["it has never reported"]

    report = REPORT.model_copy(update={"node": "st-1"})
    assert (await beat(own_world, "st-1", first.json()["token"], report)).status_code == 204
    well = await cluster(own_world, "staging")
    assert (well["healthy"], well["nodes_healthy"]) == (True, 1)

    for silence, healthy in ((29, True), (31, False)):  # three heartbeats of ten seconds may be missed
        async with own_world.services.database.transaction(TENANT) as session:
            ago = text(
                "UPDATE nodes SET last_seen = now() - make_interval(secs => :silence) WHERE name = 'st-1'"
            )
            await session.execute(ago, {"silence": silence})
        shown = await cluster(own_world, "staging")
        assert (shown["healthy"], shown["nodes"][0]["healthy"]) == (healthy, healthy)
    assert shown["nodes"][0]["problems"] == ["it was last heard of 31 s ago"]
    assert (await beat(own_world, "st-1", first.json()["token"], report)).status_code == 204
    assert (await cluster(own_world, "staging"))["healthy"]

    sick = ModuleReport(module="greeter", state=ModuleState.RUNNING, healthy=False)
    ill = report.model_copy(update={"modules": (sick,)})
    assert (await beat(own_world, "st-1", first.json()["token"], ill)).status_code == 204
    assert not (await cluster(own_world, "staging"))["healthy"]


async def test_only_the_nodes_own_latest_token_reports(world: World) -> None:
    first = (await register(world, "qa-1", "qa")).json()["token"]
    other = (await register(world, "qa-2", "qa")).json()["token"]
    assert (await beat(world, "qa-1", other, REPORT)).status_code == 403
    assert (await beat(world, "qa-1", world.token("admin"), REPORT)).status_code == 401
    assert (await beat(world, "qa-2", other, REPORT)).status_code == 403
    again = await register(world, "qa-1", "qa", "https://127.0.0.1:99")
    assert again.status_code == 200
    assert (await beat(world, "qa-1", first, REPORT)).status_code == 401
    assert (await beat(world, "qa-1", again.json()["token"], REPORT)).status_code == 204
    async with world.asks("vera") as vera:
        shown = (await vera.get("/nodes/qa-1")).json()
    assert shown["address"] == "https://127.0.0.1:99"
    assert shown["last_seen"] is not None
    assert "token" not in shown


async def test_a_node_does_not_move(world: World) -> None:
    answer = await register(world, "silent-1", "qa")
    assert (answer.status_code, answer.json()["field"]) == (409, "environment")


async def test_a_policy_is_replaced_whole(world: World) -> None:
    async with world.asks("admin") as admin:
        policy = (await admin.get("/clusters/qa")).json()["policy"]
        policy["gates"] = [{"name": "lead", "before_wave": 1}]
        answer = await admin.put("/clusters/qa/policy", json=policy)
        shown = (await admin.get("/clusters/qa")).json()
    assert answer.status_code == 200
    assert [gate["name"] for gate in shown["policy"]["gates"]] == ["lead"]


@pytest_asyncio.fixture
async def agent(world: World, tmp_path: Path) -> AsyncIterator[Node]:
    process = AgentProcess(
        write_config(tmp_path / "agent.toml", world.pki, port=free_port()), world.services.agents
    )
    yield await process.start()
    process.kill()


async def test_metrics_are_asked_of_the_agents(world: World, agent: Node) -> None:
    release = world.releases.program("1.0.0")
    await agent.install(release)
    await until_report(agent, lambda report: report.healthy is True)
    assert (await register(world, "node-1", "development", agent.address)).status_code == 201
    assert (await register(world, "dead-1", "development", "https://127.0.0.1:9")).status_code == 201
    deadline = time.monotonic() + 15
    async with world.asks("vera") as vera:
        while True:
            node = (await vera.get("/nodes/node-1/metrics")).json()
            [samples] = node["modules"]
            if len(samples["samples"]) >= 3:
                break
            assert time.monotonic() < deadline, node
        clustered = (await vera.get("/clusters/development/metrics", params={"seconds": 30})).json()
        other = (await vera.get("/nodes/node-1/metrics", params={"module": "nothing"})).json()
    assert samples["samples"][-1]["version"] == "1.0.0"
    assert other["modules"] == []
    assert clustered["silent"] == ["dead-1"]
    [window] = clustered["modules"]
    assert (window["module"], window["window"]["node"]) == ("echo", "node-1")
    assert window["window"]["probes"] > 0
    await agent.order("revert", None, module="echo")


async def test_a_node_that_has_left_is_forgotten_unless_a_rollout_is_changing_it(own_world: World) -> None:
    release = own_world.releases.files("1.0.0", module="left-site")
    assert (await own_world.push(release)).status_code == 201
    token = (await register(own_world, "left-1", "staging")).json()["token"]
    assert (await register(own_world, "left-2", "staging")).status_code == 201
    async with own_world.asks("dora") as dora:
        body = {"module": "left-site", "version": "1.0.0", "environment": "staging"}
        deployment = (await dora.post("/deployments", json=body)).json()["id"]
        assert (await dora.post("/nodes/left-1/remove", json={"reason": "x"})).status_code == 403
    async with own_world.services.database.transaction(TENANT) as session:
        fleet = await nodes.of_environment(session, TENANT, "staging")
        made = make_plan(
            tenant=TENANT,
            environment="staging",
            release=release.ref,
            nodes=fleet,
            running=dict.fromkeys(each.name for each in fleet),
            strategy=Direct(),
            policy=EnvironmentPolicy(),
        )
        await deployments.save_plan(session, TENANT, deployment, made, dict.fromkeys(made.nodes))
        done = [NodeOutcome(node=name, outcome=OutcomeKind.VERIFIED) for name in made.nodes]
        await deployments.touch(session, TENANT, deployment, made.nodes, 1)
        await deployments.record_outcomes(session, TENANT, deployment, done)
    async with own_world.asks("admin") as admin:
        kept = await admin.post("/nodes/left-1/remove", json={"reason": "sold"})
        assert (kept.status_code, kept.json()["field"]) == (409, "node")
        assert deployment in kept.json()["detail"]
        await enter(own_world, deployment, Phase.PLANNING, Phase.ACTIVATING, Phase.COMPLETED)
        assert (await admin.post("/nodes/left-1/remove", json={"reason": "sold"})).status_code == 204
        assert (await admin.get("/nodes/left-1")).status_code == 404
        assert (await admin.post("/nodes/left-1/remove", json={"reason": "again"})).status_code == 404
        [entry] = (await admin.get("/audit", params={"action": "node.removed"})).json()["items"]
    assert (entry["subject_id"], entry["reason"], entry["before"]["environment"]) == (
        "left-1",
        "sold",
        "staging",
    )
    said = REPORT.model_copy(update={"node": "left-1"})
    assert (await beat(own_world, "left-1", token, said)).status_code == 404
    async with own_world.services.database.transaction(TENANT) as session:
        undo = await deployments.rollback_targets(session, TENANT, deployment, deployment)
    assert set(undo.nodes) == set(made.nodes) - {"left-1"}


async def test_a_silent_agent_is_a_bad_gateway(world: World) -> None:
    async with world.asks("vera") as vera:
        paths = ("/nodes/silent-1/metrics", "/clusters/production/metrics")
        answers = await asyncio.gather(*(vera.get(path) for path in paths))
    for answer in answers:
        assert (answer.status_code, answer.json()["code"]) == (502, "node-unreachable")


@pytest.mark.finding("X2")
async def test_alive_ready_and_the_numbers(world: World) -> None:
    async with world.asks(None) as client:
        assert (await client.get("http://api/healthz")).status_code == 200
        ready = await client.get("http://api/readyz")
        assert (ready.status_code, ready.json()) == (200, {"database": True, "temporal": True})
        numbers = (await client.get("http://api/metrics")).text
    assert 'hotswap_nodes{environment="production"} 3.0' in numbers
    assert 'hotswap_http_requests_total{method="GET",route="/readyz",status="200"}' in numbers
    assert 'hotswap_deployments{environment="production",phase="completed"}' in numbers
    ends = dict(re.findall(r'hotswap_certificate_expires_seconds{certificate="(\w+)"} (\S+)', numbers))
    assert set(ends) == {"tls_ca", "tls_certificate", "trust_directory"}
    assert all(float(moment) > time.time() for moment in ends.values())


@pytest.mark.finding("X22")
async def test_without_its_database_it_is_not_ready_and_says_so(world: World) -> None:
    away = Database("postgresql+psycopg://nobody:nothing@127.0.0.1:9/none")
    cut_off = replace(world, app=create_app(replace(world.services, database=away)))
    async with cut_off.asks("vera") as vera:
        ready = await vera.get("http://api/readyz")
        assert (ready.status_code, ready.json()) == (503, {"database": False, "temporal": True})
        assert (await vera.get("http://api/healthz")).status_code == 200
        answer = await vera.get("/deployments")
    assert (answer.status_code, answer.json()["code"]) == (503, "unavailable")
    assert answer.headers["Retry-After"]
    assert "127.0.0.1" not in answer.text
    await away.dispose()
