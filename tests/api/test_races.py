"""Two deployments at once: the environment's policy lets one in, every time."""

import asyncio
from collections.abc import AsyncIterator, Callable
from http import HTTPStatus

import pytest
import pytest_asyncio
from temporalio.testing import WorkflowEnvironment

from domain.policy import Arrival
from store import environments
from tests.api.conftest import TENANT, World, new_namespace, new_world

LANE = "staging"


@pytest_asyncio.fixture(scope="module")
async def busy(
    temporal: WorkflowEnvironment,
    new_database: Callable[[], str],
    tmp_path_factory: pytest.TempPathFactory,
) -> AsyncIterator[World]:
    """A release, a node, and a policy that refuses a second deployment."""
    client = await new_namespace(temporal)
    async with new_world(
        tmp_path_factory.mktemp("races"), new_database(), client, limit_writes="100000/minute"
    ) as world:
        await prepare(world)
        yield world


async def prepare(world: World) -> None:
    assert (await world.push(world.releases.files("1.0.0", module="raced"))).is_success
    async with world.asks("admin") as admin:
        node = {"name": "raced-1", "environment": LANE, "address": "https://127.0.0.1:9"}
        assert (await admin.post("/nodes", json=node)).is_success
    async with world.services.database.transaction(TENANT) as session:
        policy = await environments.policy(session, TENANT, LANE)
        changed = policy.model_copy(update={"arrival": Arrival.REJECT, "requires": None})
        await environments.set_policy(session, TENANT, LANE, changed)


async def race(world: World) -> None:
    body = {"module": "raced", "version": "1.0.0", "environment": LANE, "strategy": "direct"}
    async with world.asks("dora") as dora:
        answers = await asyncio.gather(*(dora.post("/deployments", json=body) for _ in range(2)))
        codes = sorted(answer.status_code for answer in answers)
        assert codes == [HTTPStatus.ACCEPTED, HTTPStatus.CONFLICT], [answer.text for answer in answers]
        [winner] = [answer.json()["id"] for answer in answers if answer.status_code == HTTPStatus.ACCEPTED]
        ended = await dora.post(f"/deployments/{winner}/abort", json={"reason": "next race"})
        assert ended.json()["phase"] == "aborted"


@pytest.mark.finding("N6")
@pytest.mark.finding("X6")
async def test_of_two_deployments_at_once_one_gets_in(busy: World) -> None:
    for _ in range(5):
        await race(busy)


@pytest.mark.races_long
@pytest.mark.timeout(900)
async def test_two_hundred_races_of_two_deployments(busy: World) -> None:
    for _ in range(200):
        await race(busy)
    print("\n200 races of two deployments: one winner each")
