"""Approve against reject against expire: real gates of real deployments, voted on through the API.

Both votes are sent around the very moment at which the gate expires, so that each of the three comes
first now and then. Whatever does decides alone: one result, one end of the deployment, and the node agrees.
"""

import asyncio
import random
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable
from datetime import datetime
from typing import Any

import httpx
import pytest
import pytest_asyncio
from temporalio.testing import WorkflowEnvironment

from tests.api.conftest import TENANT, World, new_namespace, new_world
from tests.api.working import Agents, at_work

RACES = 200
LANES = ("development", "qa", "staging", "production")
MODULE = "contested"
EXPIRES_AFTER = 1.0
EARLIEST, LATEST = -0.2, 0.5  # seconds from the expiry within which the votes are sent; timers fire late
PATIENCE = 60.0
VOTES = {"approved": ["approve"], "rejected": ["reject"], "expired": []}
ENDS = {"approved": "completed", "rejected": "rejected", "expired": "rejected"}


@pytest_asyncio.fixture(scope="module")
async def contested(
    temporal: WorkflowEnvironment, new_database: Callable[[], str], tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[World]:
    """A world with a worker, and in each environment a node and a gate that expires soon."""
    client = await new_namespace(temporal)
    directory = tmp_path_factory.mktemp("contested")
    async with new_world(directory, new_database(), client) as world:
        agents = Agents(world, directory)
        try:
            for lane in LANES:
                await open_to_contest(world, lane)
                await agents.join(lane, lane)
            assert (await world.push(world.releases.files("1.0.0", module=MODULE))).is_success
            async with at_work(world, client):
                yield world
        finally:
            agents.kill()


async def open_to_contest(world: World, lane: str) -> None:
    gate = {"name": "contest", "before_wave": 1, "expires_after": EXPIRES_AFTER}
    async with world.asks("admin") as admin:
        before = (await admin.get(f"/clusters/{lane}")).json()["policy"]
        changed = {**before, "gates": [gate], "requires": None, "strategy": {"kind": "direct"}}
        answer = await admin.put(f"/clusters/{lane}/policy", json=changed)
    assert answer.is_success, answer.text


async def until(client: httpx.AsyncClient, path: str, when: Callable[[Any], bool]) -> Any:
    """What the API says there, once it is so."""
    deadline = time.monotonic() + PATIENCE
    while True:
        answer = await client.get(path)
        if answer.is_success and when(answer.json()):
            return answer.json()
        assert time.monotonic() < deadline, answer.text
        await asyncio.sleep(0.02)


async def vote(world: World, person: str, gate: str, decision: str, at: float) -> int:
    async with world.asks(person) as client:
        await asyncio.sleep(at - time.time())
        answer = await client.post(f"/approvals/{gate}/{decision}", json={})
    assert answer.status_code in (202, 409), answer.text
    return answer.status_code


async def race(world: World, lane: str, dice: random.Random) -> tuple[str, str]:
    """One race: the deployment, and what decided."""
    body = {"module": MODULE, "version": "1.0.0", "environment": lane}
    async with world.asks("dora") as dora:
        deployment = (await dora.post("/deployments", json=body)).json()["id"]
        gate = f"approval-{deployment}-contest"
        opened = await until(dora, f"/approvals/{gate}", lambda _: True)
        expiry = datetime.fromisoformat(opened["expires_at"]).timestamp()
        moments = [expiry + dice.uniform(EARLIEST, LATEST) for _ in range(2)]
        await asyncio.gather(
            vote(world, "abel", gate, "approve", moments[0]), vote(world, "anna", gate, "reject", moments[1])
        )
        decided = await until(dora, f"/approvals/{gate}", lambda shown: shown["result"])
        ended = await until(dora, f"/deployments/{deployment}", lambda shown: shown["finished_at"])
        again = (await dora.get(f"/approvals/{gate}")).json()
    result = str(decided["result"])
    assert again["result"] == result
    assert [each["decision"] for each in again["votes"]] == VOTES[result]
    assert ended["phase"] == ENDS[result], (result, ended)
    return deployment, result


async def closings(world: World) -> Counter[str]:
    """How often each deployment's gate was closed, by the feed of events."""
    found: Counter[str] = Counter()
    query: dict[str, Any] = {"kind": "gate.closed", "limit": 100}
    async with world.asks("vera") as vera:
        while True:
            page = (await vera.get("/events", params=query)).json()
            found.update(each["deployment"] for each in page["items"])
            if not page["more"]:
                return found
            query["cursor"] = page["cursor"]


@pytest.mark.races_long
@pytest.mark.timeout(1200)
@pytest.mark.finding("N6")
@pytest.mark.finding("X9")
async def test_two_hundred_races_of_approve_reject_and_expiry(contested: World) -> None:
    dice = random.Random(9)

    async def one_after_another(lane: str) -> list[tuple[str, str]]:
        return [await race(contested, lane, dice) for _ in range(RACES // len(LANES))]

    raced = await asyncio.gather(*map(one_after_another, LANES))
    results = dict(each for lane in raced for each in lane)
    assert len(results) == RACES
    assert await closings(contested) == Counter(results.keys())
    async with contested.asks("vera") as vera:
        for lane, races in zip(LANES, raced, strict=True):
            address = (await vera.get(f"/nodes/{lane}")).json()["address"]
            journal = await contested.services.agents.of(TENANT).journal(address, MODULE)
            touched = {entry.id.split(":")[0] for entry in journal}
            assert touched == {deployment for deployment, result in races if result == "approved"}
    won = Counter(results.values())
    assert set(won) == set(VOTES), won
    print(f"\n{RACES} races of approve, reject and expiry: one winner each, {dict(won)}")
