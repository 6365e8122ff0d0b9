"""The whole way through the front door: pushed, deployed by a real worker to real agents, taken back."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from temporalio.testing import WorkflowEnvironment

from api import lanes
from domain.release import ReleaseRef
from store import catching_up
from tests.agent.nodes import Node, Release
from tests.api.conftest import TENANT, World, new_namespace, new_world
from tests.api.working import Agents, at_work

NODES = ("web-1", "web-2", "web-3")
PATIENCE = 60.0


@pytest_asyncio.fixture(scope="module")
async def living(
    temporal: WorkflowEnvironment,
    new_database: Callable[[], str],
    tmp_path_factory: pytest.TempPathFactory,
) -> AsyncIterator[World]:
    """A world with a worker and three agents in development."""
    directory = tmp_path_factory.mktemp("living")
    client = await new_namespace(temporal)
    async with new_world(directory, new_database(), client) as world:
        agents = Agents(world, directory)
        try:
            for name in NODES:
                await agents.join("development", name)
            async with at_work(world, client):
                yield world
        finally:
            agents.kill()


async def ended(world: World, deployment: str) -> dict[str, Any]:
    deadline = time.monotonic() + PATIENCE
    async with world.asks("vera") as vera:
        while True:
            shown: dict[str, Any] = (await vera.get(f"/deployments/{deployment}")).json()
            if shown["finished_at"]:
                return shown
            assert time.monotonic() < deadline, shown
            await asyncio.sleep(0.1)


async def deploy(world: World, release: Release, **more: Any) -> dict[str, Any]:
    body = {"module": release.ref.module, "version": release.ref.version, "environment": "development"}
    async with world.asks("dora") as dora:
        answer = await dora.post("/deployments", json=body | more)
    assert answer.status_code == 202, answer.text
    return await ended(world, answer.json()["id"])


async def versions(world: World, module: str) -> list[str | None]:
    """What the nodes really have, read from their agents."""
    found = []
    async with world.asks("vera") as vera:
        for name in NODES:
            address = (await vera.get(f"/nodes/{name}")).json()["address"]
            report = await world.services.agents.of(TENANT).module(address, module)
            found.append(report.current.version if report.current else None)
    return found


async def test_a_release_goes_out_a_second_replaces_it_and_is_taken_back(living: World) -> None:
    first, second = (living.releases.files(version) for version in ("1.0.0", "2.0.0"))
    for release in (first, second):
        assert (await living.push(release)).status_code == 201

    shown = await deploy(living, first)
    assert (shown["phase"], shown["exit_code"], shown["replaces"]) == ("completed", 0, None)
    assert {step["state"] for step in shown["steps"]} == {"done"}
    assert {node["state"] for node in shown["nodes"]} == {"verified"}

    shown = await deploy(living, second)
    assert (shown["phase"], shown["replaces"]) == ("completed", "1.0.0")
    assert {(node["prior"], node["version"]) for node in shown["nodes"]} == {("1.0.0", "2.0.0")}
    assert await versions(living, "site") == ["2.0.0"] * 3

    async with living.asks("dora") as dora:
        answer = await dora.post(f"/deployments/{shown['id']}/rollback", json={"reason": "a wish"})
    assert answer.status_code == 202
    back = await ended(living, answer.json()["id"])
    assert (back["phase"], back["rolls_back"]) == ("rolled-back-verified", shown["id"])
    assert {node["state"] for node in back["nodes"]} == {"rolled-back"}
    assert back["cause"]["actor"] == "dora"
    assert await versions(living, "site") == ["1.0.0"] * 3


async def test_a_rolling_rollout_does_what_its_preview_said(living: World) -> None:
    release = living.releases.files("1.0.0", module="rolled-site")
    assert (await living.push(release)).status_code == 201
    rolling = {"kind": "rolling", "batch": 2, "max_unavailable": 1, "bake": 0.5, "first_bake": 1}
    body = {"module": "rolled-site", "version": "1.0.0", "environment": "development", "strategy": rolling}
    before = await living.rows()
    async with living.asks("dora") as dora:
        answer = await dora.post("/deployments/plan", json=body)
        refused = await dora.post("/deployments/plan", json={**body, "environment": "qa"})
    assert answer.status_code == 200, answer.text
    assert (refused.status_code, refused.json()["field"]) == (422, "environment")
    assert await living.rows() == before
    preview = answer.json()
    assert [wave["nodes"] for wave in preview["waves"]] == [1, 1, 1]
    assert preview["unheard"] == list(NODES)

    shown = await deploy(living, release, strategy=rolling)
    assert shown["phase"] == "completed"
    assert shown["plan_digest"] == preview["digest"]
    assert [wave["nodes"] for wave in shown["waves"]] == [w["nodes"] for w in preview["plan"]["waves"]]
    assert await versions(living, "rolled-site") == ["1.0.0"] * 3


async def test_a_gate_is_passed_by_a_vote_through_the_api(living: World) -> None:
    release = living.releases.files("1.0.0", module="gated-site")
    assert (await living.push(release)).status_code == 201
    async with living.asks("admin") as admin:
        policy = (await admin.get("/clusters/development")).json()["policy"]
        gated = {**policy, "unsigned_votes": False, "gates": [{"name": "lead", "before_wave": 1}]}
        assert (await admin.put("/clusters/development/policy", json=gated)).status_code == 200
        going = asyncio.create_task(deploy(living, release))
        deadline = time.monotonic() + PATIENCE
        while not (waiting := (await admin.get("/approvals/pending")).json()["items"]):
            assert time.monotonic() < deadline
            await asyncio.sleep(0.1)
        assert await versions(living, "gated-site") == [None] * 3
    async with living.asks("anna") as anna:
        answer = await anna.post(f"/approvals/{waiting[0]['id']}/approve", json={"comment": "go"})
    assert answer.status_code == 202
    shown = await going
    assert (shown["phase"], shown["gates"][0]["result"]) == ("completed", "approved")
    async with living.asks("admin") as admin:
        assert (await admin.put("/clusters/development/policy", json=policy)).status_code == 200
    [vote] = shown["gates"][0]["votes"]
    assert (vote["voter"], vote["trust"], vote["comment"]) == ("anna", "signed", "go")
    async with living.asks("vera") as vera:
        stream = await vera.get(f"/deployments/{shown['id']}/events")
        assert (await vera.get("/approvals/pending")).json()["items"] == []
    kinds = [line[7:] for line in stream.text.splitlines() if line.startswith("event: ")]
    assert kinds[0] == "deployment.queued"
    assert {"gate.opened", "gate.vote-counted", "gate.closed"} < set(kinds)
    assert kinds[-1] == "deployment.finished"


async def test_an_amended_plan_is_approved_then_the_gate_asks_about_it_and_the_nodes_follow_it(
    living: World,
) -> None:
    release = living.releases.files("1.0.0", module="amended-site")
    assert (await living.push(release)).status_code == 201

    async def approve(gate: str, plan: str | None, person: str) -> dict[str, Any]:
        """Approve a gate once it asks about this plan; what it asked about."""
        deadline = time.monotonic() + PATIENCE
        async with living.asks(person) as asked:
            while True:
                for each in (await asked.get("/approvals/pending")).json()["items"]:
                    if each["id"].endswith(gate) and plan in (None, each["plan"]):
                        answer = await asked.post(f"/approvals/{each['id']}/approve", json={})
                        assert answer.status_code == 202, answer.text
                        return dict(each)
                assert time.monotonic() < deadline
                await asyncio.sleep(0.1)

    async with living.asks("admin") as admin, living.asks("dora") as dora:
        policy = (await admin.get("/clusters/development")).json()["policy"]
        gates = [{"name": "lead", "before_wave": 1, "required": 2}]
        gated = {**policy, "unsigned_votes": False, "gates": gates}
        assert (await admin.put("/clusters/development/policy", json=gated)).status_code == 200
        going = asyncio.create_task(deploy(living, release))
        first = await approve("-lead", None, "anna")
        changes = {"wave_nodes": 1, "deadline": 20_000, "reason": "one by one"}
        answer = await dora.post(f"/deployments/{first['deployment']}/amend", json=changes)
        assert answer.status_code == 202, answer.text
        assert answer.json()["widens"] == ["the deadline of a deployment is longer: 14400 s → 20000 s"]
        await approve("-amendment.1", answer.json()["digest"], "abel")
        for person in ("anna", "abel"):  # her first vote was for the plan before
            await approve("-lead", answer.json()["digest"], person)
        shown = await going
        assert (await admin.put("/clusters/development/policy", json=policy)).status_code == 200
        items = (await dora.get(f"/deployments/{shown['id']}/amendments")).json()["items"]
    assert (shown["phase"], shown["plan_digest"]) == ("completed", answer.json()["digest"])
    assert sorted(node["wave"] for node in shown["nodes"]) == [1, 2, 3]
    assert [(each["state"], each["before"], each["digest"]) for each in items] == [
        ("applied", first["plan"], shown["plan_digest"])
    ]
    assert await versions(living, "amended-site") == ["1.0.0"] * 3


async def test_a_person_freezes_a_rollout_on_its_way_and_thaws_it(living: World) -> None:
    release = living.releases.files("1.0.0", module="frozen-site")
    assert (await living.push(release)).status_code == 201
    rolling = {"kind": "rolling", "batch": 1, "max_unavailable": 1, "bake": 2}
    going = asyncio.create_task(deploy(living, release, strategy=rolling))

    async def until_phase(phase: str) -> dict[str, Any]:
        deadline = time.monotonic() + PATIENCE
        async with living.asks("vera") as vera:
            while True:
                query = {"environment": "development", "phase": phase, "module": "frozen-site"}
                if found := (await vera.get("/deployments", params=query)).json()["items"]:
                    shown: dict[str, Any] = (await vera.get(f"/deployments/{found[0]['id']}")).json()
                    return shown
                assert time.monotonic() < deadline
                await asyncio.sleep(0.05)

    deadline = time.monotonic() + PATIENCE
    while "1.0.0" not in await versions(living, "frozen-site"):
        assert time.monotonic() < deadline
        await asyncio.sleep(0.05)
    async with living.asks("abel") as abel:
        body = {"reason": "the network is shaky"}
        assert (await abel.post("/clusters/development/freeze", json=body)).status_code == 200
        held = await until_phase("frozen")
        assert "the network is shaky" in held["message"]
        assert held["freeze"]["until"] is None
        assert sorted(map(str, await versions(living, "frozen-site"))) == ["1.0.0", "None", "None"]
        thawed = await abel.post("/clusters/development/thaw", json={"reason": "it is not"})
        assert (thawed.status_code, thawed.json()["freeze"]) == (200, None)
    shown = await going
    assert shown["phase"] == "completed"
    assert await versions(living, "frozen-site") == ["1.0.0"] * 3
    async with living.asks("vera") as vera:
        stream = await vera.get(f"/deployments/{shown['id']}/events")
    kinds = [line[7:] for line in stream.text.splitlines() if line.startswith("event: ")]
    assert {"freeze.added", "freeze.removed"} <= set(kinds)


async def test_undo_goes_back_to_an_earlier_release_and_history_tells_all(living: World) -> None:
    made = [living.releases.files(version, module="undone-site") for version in ("1.0.0", "2.0.0", "3.0.0")]
    for release in made:
        assert (await living.push(release)).status_code == 201
        assert (await deploy(living, release))["phase"] == "completed"
    order = {"module": "undone-site", "environment": "development", "to": "1.0.0", "reason": "2 and 3 leak"}
    before = await living.rows()
    async with living.asks("dora") as dora:
        wrong = {
            "to": ("9.9.9", "to"),
            "environment": ("moon", "environment"),
            "reason": ("", "reason"),
            "module": ("nobodys-site", "to"),
        }
        for field, (value, named) in wrong.items():
            refused = await dora.post("/undo", json={**order, field: value})
            assert (refused.status_code, refused.json()["field"]) == (422, named), refused.text
        assert await living.rows() == before
        answer = await dora.post("/undo", json=order)
    assert answer.status_code == 202, answer.text
    shown = await ended(living, answer.json()["id"])
    assert (shown["phase"], shown["strategy"], shown["replaces"]) == ("completed", "undo", "3.0.0")
    assert [step["kind"] for step in shown["steps"]] == ["stage", "activate", "verify"]
    assert {(node["prior"], node["version"]) for node in shown["nodes"]} == {("3.0.0", "1.0.0")}
    assert await versions(living, "undone-site") == ["1.0.0"] * 3

    async with living.asks("dora") as dora:
        answer = await dora.post(f"/deployments/{shown['id']}/rollback", json={"reason": "it was not them"})
        back = await ended(living, answer.json()["id"])
        read = await dora.get("/history", params={"environment": "development", "module": "undone-site"})
        one = await dora.get("/history", params={"environment": "development", "node": "web-2", "limit": 1})
        nowhere = await dora.get("/history", params={"environment": "moon"})
    assert back["phase"] == "rolled-back-verified"
    assert await versions(living, "undone-site") == ["3.0.0"] * 3
    assert (nowhere.status_code, nowhere.json()["field"]) == (422, "environment")

    entries = read.json()["items"]
    ways = [[_way(change) for change in each["changes"]] for each in entries]
    nodes = list(NODES)
    assert ways == [
        [("1.0.0", "3.0.0", nodes)],
        [("3.0.0", "1.0.0", nodes)],
        [("2.0.0", "3.0.0", nodes)],
        [("1.0.0", "2.0.0", nodes)],
        [(None, "1.0.0", nodes)],
    ]
    assert [way["unverified"] for each in entries for way in each["changes"]] == [[]] * 5
    assert (entries[0]["rolls_back"], entries[0]["actor"]) == (shown["id"], "dora")
    assert (entries[1]["strategy"], entries[1]["reason"]) == ("undo", "2 and 3 leak")
    assert entries[0]["changes"][0]["to"]["digest"] == made[2].ref.digest
    assert one.json()["items"][0]["changes"][0]["nodes"] == ["web-2"]
    assert one.json()["next_cursor"] is not None


def _way(change: dict[str, Any]) -> tuple[str | None, str, list[str]]:
    return (change["from"] and change["from"]["version"], change["to"]["version"], change["nodes"])


async def test_a_node_that_joins_during_a_rollout_runs_the_stable_release_until_it_is_over(
    living: World, tmp_path: Path
) -> None:
    first, second = (living.releases.files(version, module="joined-site") for version in ("1.0.0", "2.0.0"))
    for release in (first, second):
        assert (await living.push(release)).status_code == 201
    agents = Agents(living, tmp_path)
    try:
        await agents.join("qa", "qa-1")
        assert (await deploy(living, first, environment="qa", strategy={"kind": "direct"}))[
            "phase"
        ] == "completed"
        slow = {"kind": "rolling", "batch": 1, "max_unavailable": 1, "bake": 600}
        going = asyncio.create_task(deploy(living, second, environment="qa", strategy=slow))
        rollout = await newest(living, "qa", phase="baking")

        late = await agents.join("qa", "qa-2")
        await agents.report("qa-2", late)
        await caught_up(living)
        assert await running(living, late) == first.ref
        async with living.asks("dora") as dora:
            assert (await dora.post(f"/deployments/{rollout}/promote", json={})).status_code == 202
        shown = await going
        assert (shown["phase"], [node["name"] for node in shown["nodes"]]) == ("completed", ["qa-1"])

        await agents.report("qa-2", late)
        await caught_up(living)
        assert await running(living, late) == second.ref
    finally:
        agents.kill()


async def running(world: World, node: Node) -> ReleaseRef | None:
    return (await world.services.agents.of(TENANT).module(node.address, "joined-site")).current


async def newest(world: World, environment: str, phase: str) -> str:
    """The newest deployment to an environment, once it has come so far."""
    deadline = time.monotonic() + PATIENCE
    async with world.asks("vera") as vera:
        while True:
            found = (await vera.get("/deployments", params={"environment": environment})).json()["items"]
            if found[0]["phase"] == phase:
                return str(found[0]["id"])
            assert time.monotonic() < deadline, found[0]
            await asyncio.sleep(0.05)


async def caught_up(world: World) -> None:
    """Those that are due are caught up, and it is over."""
    services = world.services
    async with services.database.transaction(TENANT) as session:
        (made,) = await catching_up.queue(session, TENANT, "qa")
    await lanes.submit(services.temporal, TENANT, "qa", made)
    assert (await ended(world, made))["phase"] == "completed"
