"""Arrivals through the front door: hotfix, override, stricter arrivals, who takes whose place."""

import itertools
from typing import Any

import pytest_asyncio

from domain.deployment import Phase
from domain.names import lane_id
from domain.node import Node
from store import lanes, nodes
from tests.agent.nodes import Release
from tests.api.conftest import TENANT, World
from tests.api.test_deployments import enter, get, order, plan

_names = (f"arriving-{number}" for number in itertools.count(1))


@pytest_asyncio.fixture(scope="module")
async def world(own_world: World) -> World:
    """One of its own: a node in development, and no worker."""
    async with own_world.services.database.transaction(TENANT) as session:
        node = Node(name="dev-1", environment="development", address="https://127.0.0.1:1")
        await nodes.register(session, TENANT, node)
    return own_world


@pytest_asyncio.fixture
async def release(world: World) -> Release:
    made = world.releases.files("2.0.0", module=next(_names))
    assert (await world.push(made)).status_code == 201
    return made


async def ask(world: World, release: Release, path: str = "/deployments", **more: Any) -> Any:
    body = {"module": release.ref.module, "version": release.ref.version, "environment": "development"}
    async with world.asks("dora") as dora:
        return await dora.post(path, json={**body, **more})


async def with_policy(world: World, **changes: Any) -> dict[str, Any]:
    async with world.asks("admin") as admin:
        before = (await admin.get("/clusters/development")).json()["policy"]
        answer = await admin.put("/clusters/development/policy", json={**before, **changes})
    assert answer.status_code == 200, answer.text
    kept: dict[str, Any] = before
    return kept


async def test_a_hotfix_takes_the_place_of_what_runs_and_goes_before_what_waits(
    world: World, release: Release
) -> None:
    first = (await ask(world, release)).json()["id"]
    await enter(world, first, Phase.PLANNING)
    waits = (await ask(world, release)).json()["id"]
    answer = await ask(world, release, hotfix=True, reason="it burns")
    shown = answer.json()
    assert answer.status_code == 202, answer.text
    assert (shown["hotfix"], shown["supersedes"], shown["supersede_mode"]) == (
        "it burns",
        first,
        "revert-first",
    )
    async with world.services.database.transaction(TENANT) as session:
        view = await lanes.load(session, TENANT, "development")
    assert [entry.deployment for entry in view.queued] == [shown["id"], waits]
    assert ("submit", {"deployment": shown["id"]}) in await world.signals(lane_id(TENANT, "development"))
    for each in (waits, shown["id"]):
        assert (await order(world, each, "abort")).status_code == 202
    await enter(world, first, Phase.FAILED)


async def test_a_policy_may_allow_no_hotfix(world: World, release: Release) -> None:
    before = await with_policy(world, hotfix={"allowed": False})
    try:
        for path in ("/deployments", "/deployments/plan"):
            refused = await ask(world, release, path, hotfix=True, reason="it burns")
            assert (refused.status_code, refused.json()["field"]) == (422, "hotfix")
    finally:
        await with_policy(world, **before)
    async with world.asks("admin") as admin:
        bad = await admin.put("/clusters/development/policy", json={**before, "arrival": "preempt"})
    assert (bad.status_code, bad.json()["field"]) == (422, "arrival")


async def test_a_request_is_stricter_than_its_environment_when_it_says_so(
    world: World, release: Release
) -> None:
    before = await with_policy(world, arrival="supersede", supersede="roll-forward")
    try:
        first = (await ask(world, release)).json()["id"]
        await plan(world, first)
        await enter(world, first, Phase.PLANNING, Phase.STAGING)
        refused = await ask(world, release, arrival="reject")
        assert (refused.status_code, refused.json()["code"]) == (409, "lane-busy")
        waits = (await ask(world, release, arrival="queue")).json()
        assert waits["supersedes"] is None
        takes = (await ask(world, release)).json()
        assert (takes["supersedes"], takes["supersede_mode"]) == (first, "roll-forward")
        assert (await get(world, waits["id"]))["phase"] == "superseded"
        assert (await order(world, takes["id"], "abort")).json()["phase"] == "aborted"
        await enter(world, first, Phase.FAILED)
    finally:
        await with_policy(world, **before)


async def test_an_override_is_for_a_frozen_lane_only(world: World, release: Release) -> None:
    refused = await ask(world, release, hotfix=True, reason="it burns", override="it must")
    assert (refused.status_code, refused.json()["field"]) == (409, "override")
    first = (await ask(world, release)).json()["id"]
    await enter(world, first, Phase.PLANNING)
    async with world.services.database.transaction(TENANT) as session:
        await lanes.freeze(session, TENANT, first, "node-01 is not back")
    await enter(world, first, Phase.FAILED)
    shown = (await ask(world, release, hotfix=True, reason="it burns", override="it must")).json()
    assert (shown["override"], shown["phase"]) == ("it must", "queued")
    assert (await order(world, shown["id"], "abort")).status_code == 202
    async with world.asks("admin") as admin:
        assert (await admin.post("/clusters/development/resolve", json={"reason": "seen"})).status_code == 202
