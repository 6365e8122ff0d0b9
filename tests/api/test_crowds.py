"""Many requests for one lane: few signals wake it, and those who wait for their turn hold no connection."""

import asyncio
from collections import Counter

import pytest
from sqlalchemy.exc import TimeoutError as PoolTimeout

from api.turns import Turns
from domain.names import lane_id
from store.rows import environment_row
from tests.api.conftest import TENANT, World

CROWD = 25  # the pool has 20 connections
PATIENCE = 30.0


async def test_a_lane_is_told_at_once_and_of_all_that_comes_next_together(world: World) -> None:
    bell = world.services.bell
    for number in range(CROWD):
        bell.ring(TENANT, "qa", f"rung-{number}")
    bell.ring(TENANT, "staging", "rung-elsewhere")
    sent = await world.signals(lane_id(TENANT, "qa"))
    rung = [body["deployment"] for _, body in sent if str(body.get("deployment")).startswith("rung")]
    assert rung == ["rung-0", f"rung-{CROWD - 1}"]
    assert ("submit", {"deployment": "rung-elsewhere"}) in await world.signals(lane_id(TENANT, "staging"))


async def test_turns_come_in_the_order_in_which_they_were_asked_for() -> None:
    turns, order = Turns(PATIENCE), list[int]()
    inside = Counter[str]()

    async def one(number: int) -> None:
        async with turns.of(TENANT, "qa"):
            inside["now"] += 1
            assert inside["now"] == 1
            await asyncio.sleep(0)
            order.append(number)
            inside["now"] -= 1

    await asyncio.gather(*(one(number) for number in range(CROWD)))
    assert order == list(range(CROWD))


async def test_a_turn_that_does_not_come_in_time_is_an_error_that_may_be_tried_again() -> None:
    turns = Turns(0.01)
    async with turns.of(TENANT, "qa"):
        with pytest.raises(PoolTimeout):
            async with turns.of(TENANT, "qa"):
                raise AssertionError("two at once")
        async with turns.of(TENANT, "staging"):
            pass
    async with turns.of(TENANT, "qa"):
        pass


@pytest.mark.finding("22")
async def test_a_crowd_before_a_locked_lane_leaves_connections_to_others(world: World) -> None:
    """More requests than there are connections wait for one lane; who asks for something else is served."""
    release = world.releases.files("1.0.0", module="crowded")
    assert (await world.push(release)).status_code == 201
    wanted = {"module": "crowded", "version": "1.0.0", "environment": "production"}
    async with asyncio.timeout(PATIENCE), world.asks("dora") as dora, world.asks("vera") as vera:
        async with world.services.database.transaction(TENANT) as session:
            await environment_row(session, TENANT, "production", lock=True)
            crowd = [asyncio.create_task(dora.post("/deployments", json=wanted)) for _ in range(CROWD)]
            answers = await asyncio.gather(*(vera.get("/nodes") for _ in range(CROWD)))
            assert Counter(answer.status_code for answer in answers) == {200: CROWD}
            assert not any(task.done() for task in crowd)
        queued = await asyncio.gather(*crowd)
        assert Counter(answer.status_code for answer in queued) == {202: CROWD}
        withdrawn = await asyncio.gather(
            *(dora.post(f"/deployments/{each.json()['id']}/abort", json={}) for each in queued)
        )
        assert Counter(answer.status_code for answer in withdrawn) == {202: CROWD}
