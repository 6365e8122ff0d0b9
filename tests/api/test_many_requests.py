"""Fifty requests at once to one environment, for each arrival policy: real API, database, Temporal, agents.

Never two deployments at once, none lost, and in the end the nodes run what a reference model says.
"""

import asyncio
import itertools
import random
import time
from collections.abc import AsyncIterator, Callable
from datetime import datetime
from typing import Any

import pytest
import pytest_asyncio
from temporalio.testing import WorkflowEnvironment

from tests.api.conftest import TENANT, World, new_namespace, new_world
from tests.api.working import Agents, at_work

REQUESTS = 50
PATIENCE = 240.0
MODULE = "site"
VERSIONS = tuple(f"1.0.{number}" for number in range(5))
DIRECT = {"kind": "direct"}
ROLLING = {"kind": "rolling", "batch": 1, "max_unavailable": 1, "bake": 0.4}
PLACES: dict[str, tuple[int, dict[str, Any]]] = {
    "development": (1, {"arrival": "queue", "strategy": DIRECT}),
    "qa": (1, {"arrival": "coalesce", "strategy": ROLLING}),
    "staging": (2, {"arrival": "supersede", "supersede": "revert-first", "strategy": ROLLING}),
    "production": (2, {"arrival": "supersede", "supersede": "roll-forward", "strategy": ROLLING}),
}

pytestmark = pytest.mark.timeout(300)


@pytest_asyncio.fixture(scope="module")
async def crowd(
    temporal: WorkflowEnvironment,
    new_database: Callable[[], str],
    tmp_path_factory: pytest.TempPathFactory,
) -> AsyncIterator[World]:
    """A world with a worker, agents in every environment, and five releases of one module."""
    directory = tmp_path_factory.mktemp("crowd")
    client = await new_namespace(temporal)
    async with new_world(directory, new_database(), client) as world:
        agents = Agents(world, directory)
        try:
            for environment in PLACES:
                await _settle_in(world, agents, environment)
            for version in VERSIONS:
                assert (await world.push(world.releases.files(version, module=MODULE))).status_code == 201
            async with at_work(world, client):
                yield world
        finally:
            agents.kill()


async def _settle_in(world: World, agents: Agents, environment: str) -> None:
    count, policy = PLACES[environment]
    async with world.asks("admin") as admin:
        before = (await admin.get(f"/clusters/{environment}")).json()["policy"]
        changed = {**before, "gates": [], "requires": None, **policy}
        answer = await admin.put(f"/clusters/{environment}/policy", json=changed)
        assert answer.status_code == 200, answer.text
    for number in range(count):
        await agents.join(environment, f"{environment}-{number}")


async def ask_many(
    world: World, environment: str, seed: int, *, hotfixes: int = 0, apart: float = 0.0
) -> list[Any]:
    """All requests at once (or within `apart` seconds), of random versions; the answers."""
    dice = random.Random(seed)

    async def one(number: int) -> Any:
        body: dict[str, Any] = {
            "module": MODULE,
            "version": dice.choice(VERSIONS),
            "environment": environment,
        }
        if number < hotfixes:
            body |= {"hotfix": True, "reason": "it burns"}
        pause = dice.uniform(0, apart)
        await asyncio.sleep(pause)
        async with world.asks("dora") as dora:
            return await dora.post("/deployments", json=body)

    return await asyncio.gather(*(one(number) for number in range(REQUESTS)))


async def all_of(world: World, environment: str) -> list[dict[str, Any]]:
    """Every deployment of the environment, oldest first."""
    found: list[dict[str, Any]] = []
    cursor = None
    async with world.asks("vera") as vera:
        while True:
            query = {"environment": environment, "limit": 100, **({"cursor": cursor} if cursor else {})}
            page = (await vera.get("/deployments", params=query)).json()
            found += page["items"]
            cursor = page["next_cursor"]
            if cursor is None:
                return found[::-1]


async def until_all_have_ended(world: World, environment: str) -> list[dict[str, Any]]:
    deadline = time.monotonic() + PATIENCE
    while True:
        found = await all_of(world, environment)
        if all(each["finished_at"] for each in found):
            return found
        assert time.monotonic() < deadline, [each["phase"] for each in found if not each["finished_at"]]
        await asyncio.sleep(0.5)


async def approve_hotfixes(world: World) -> None:
    """An approver who lets every hotfix through."""
    async with world.asks("abel") as abel:
        while True:
            for gate in (await abel.get("/approvals/pending")).json()["items"]:
                await abel.post(f"/approvals/{gate['id']}/approve", json={})
            await asyncio.sleep(0.2)


async def on_nodes(world: World, environment: str) -> list[str | None]:
    """What the environment's nodes really have, read from their agents."""
    found = []
    async with world.asks("vera") as vera:
        for number in range(PLACES[environment][0]):
            address = (await vera.get(f"/nodes/{environment}-{number}")).json()["address"]
            report = await world.services.agents.of(TENANT).module(address, MODULE)
            found.append(report.current.version if report.current else None)
    return found


async def agree_with_the_model(world: World, environment: str, ended: list[dict[str, Any]]) -> None:
    """Walk the deployments in the order in which they ran, knowing only what each one's end means."""
    ran = sorted((each for each in ended if _start(each) < _end(each)), key=_start)
    for before, after in itertools.pairwise(ran):
        assert _end(before) <= _start(after), (before["id"], after["id"])
    stable: str | None = None
    async with world.asks("vera") as vera:
        for each in ran:
            shown = (await vera.get(f"/deployments/{each['id']}")).json()
            priors = {node["prior"] for node in shown["nodes"]}
            assert priors <= {stable}, (each["id"], priors, stable)  # never a half-rolled release
            if each["phase"] == "completed":
                stable = each["version"]
    assert await on_nodes(world, environment) == [stable] * PLACES[environment][0]


def _start(deployment: dict[str, Any]) -> datetime:
    return datetime.fromisoformat(deployment["started_at"])


def _end(deployment: dict[str, Any]) -> datetime:
    """For one that was withdrawn this is its start too: it never got its turn."""
    return datetime.fromisoformat(deployment["finished_at"])


@pytest.mark.races_long
async def test_queue_runs_every_one_in_order_of_arrival(crowd: World) -> None:
    answers = await ask_many(crowd, "development", seed=1)
    assert {answer.status_code for answer in answers} == {202}
    ended = await until_all_have_ended(crowd, "development")
    assert {each["id"] for each in ended} == {answer.json()["id"] for answer in answers}
    assert [each["phase"] for each in ended] == ["completed"] * REQUESTS
    assert [each["id"] for each in sorted(ended, key=_start)] == [each["id"] for each in ended]
    await agree_with_the_model(crowd, "development", ended)
    assert await on_nodes(crowd, "development") == [ended[-1]["version"]]


@pytest.mark.finding("N7")
async def test_reject_refuses_all_but_those_that_found_the_lane_free(crowd: World) -> None:
    async with crowd.asks("admin") as admin:
        policy = (await admin.get("/clusters/development")).json()["policy"]
        answer = await admin.put("/clusters/development/policy", json={**policy, "arrival": "reject"})
        assert answer.status_code == 200
    earlier = {each["id"] for each in await all_of(crowd, "development")}
    answers = await ask_many(crowd, "development", seed=2)
    accepted = [answer.json()["id"] for answer in answers if answer.status_code == 202]
    refused = [answer for answer in answers if answer.status_code != 202]
    assert accepted
    assert {(each.status_code, each.json()["code"]) for each in refused} == {(409, "lane-busy")}
    ended = await until_all_have_ended(crowd, "development")
    assert {each["id"] for each in ended} - earlier == set(accepted)
    assert {each["phase"] for each in ended} == {"completed"}
    assert await on_nodes(crowd, "development") == [ended[-1]["version"]]


@pytest.mark.parametrize(
    ("environment", "ends"),
    [
        ("qa", {"completed", "superseded"}),
        pytest.param(
            "staging", {"completed", "superseded", "rolled-back-verified"}, marks=pytest.mark.races_long
        ),
        pytest.param("production", {"completed", "superseded"}, marks=pytest.mark.races_long),
    ],
)
async def test_of_those_that_take_each_others_place_the_newest_stays(
    crowd: World, environment: str, ends: set[str]
) -> None:
    answers = await ask_many(crowd, environment, seed=3, apart=4.0)
    assert {answer.status_code for answer in answers} == {202}
    ended = await until_all_have_ended(crowd, environment)
    assert {each["id"] for each in ended} == {answer.json()["id"] for answer in answers}
    assert {each["phase"] for each in ended} <= ends
    assert ended[-1]["phase"] == "completed"
    order = [each["id"] for each in ended]
    for each in ended:
        if each["phase"] != "completed":
            heir = each["cause"]["message"].rsplit(" ", 1)[-1]
            assert each["cause"]["kind"] == "superseded"
            assert order.index(heir) > order.index(each["id"])
    await agree_with_the_model(crowd, environment, ended)
    assert set(await on_nodes(crowd, environment)) == {ended[-1]["version"]}


@pytest.mark.races_long
async def test_hotfixes_among_many_requests(crowd: World) -> None:
    earlier = {each["id"] for each in await all_of(crowd, "qa")}
    approver = asyncio.create_task(approve_hotfixes(crowd))
    try:
        answers = await ask_many(crowd, "qa", seed=4, hotfixes=4, apart=4.0)
        ended = await until_all_have_ended(crowd, "qa")
    finally:
        approver.cancel()
    assert {answer.status_code for answer in answers} == {202}
    fresh = [each for each in ended if each["id"] not in earlier]
    assert {each["id"] for each in fresh} == {answer.json()["id"] for answer in answers}
    assert all(each["cause"]["kind"] == "superseded" for each in fresh if each["phase"] != "completed")
    for each in fresh:
        if each["phase"] != "completed" and each["hotfix"] is not None:
            heir = each["cause"]["message"].rsplit(" ", 1)[-1]
            assert next(other for other in fresh if other["id"] == heir)["hotfix"] is not None
    await agree_with_the_model(crowd, "qa", ended)
